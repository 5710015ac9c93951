#define _GNU_SOURCE
#include "say.h"
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void print_string(const char *text)
{
	putchar('"');
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == '"' || *text == '\\')
			printf("\\u%04x", *text);
		else
			putchar(*text);
	putchar('"');
}

void say(const char *event, ...)
{
	va_list pairs;

	printf("{\"timeUnixMs\":%lld,\"event\":\"%s\"", now_ms(), event);
	va_start(pairs, event);
	for (const char *name; (name = va_arg(pairs, const char *));) {
		printf(",\"%s\":", name);
		print_string(va_arg(pairs, const char *));
	}
	va_end(pairs);
	puts("}");
	fflush(stdout);
}
