/* The demo's health check: says that it ran. The lab's drift step puts another edition of it in its place. */
#include <stdio.h>

#ifndef EDITION
#define EDITION "as approved"
#endif

int main(void)
{
	puts("{\"healthy\":true,\"edition\":\"" EDITION "\"}");
	return 0;
}
