#pragma once

/* Asks the Workload API once at a unix socket, and says what came: an identity, or a status. */
void ask_once(const char *socket);
