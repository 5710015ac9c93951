/* What a program of the lab's containers says: JSON lines on its standard output. */
#pragma once

/* Milliseconds since 1970. */
long long now_ms(void);

/* One line: pairs of name and text, ended by a null pointer. */
void say(const char *event, ...);
