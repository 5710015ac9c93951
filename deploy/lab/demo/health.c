/* The demo's health check: says that it ran, and when. The lab's drift step puts another edition of it in its place. */
#include <stdio.h>
#include <time.h>

#ifndef EDITION
#define EDITION "as approved"
#endif

int main(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	printf("{\"healthy\":true,\"edition\":\"%s\",\"timeUnixMs\":%lld}\n", EDITION,
	       now.tv_sec * 1000LL + now.tv_nsec / 1000000);
	return 0;
}
