/*
 * The common code of the stand-ins for vendor libraries. The stand-ins log each call, and fail on request.
 *
 * STUB_LOG   file with a line for each call: the function, and the device if the function has one
 * STUB_FAIL  functions that fail, each with the number that it returns: "ibv_query_device:5,ibv_close_device:16"
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Logs the call. Returns the number with which the function has to fail, or 0. */
static int called(const char *function, const char *device)
{
	const char *log = getenv("STUB_LOG");
	if (log) {
		char line[256];
		int length = snprintf(line, sizeof(line), "%s%s%s\n", function, device ? " " : "", device ? device : "");
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
		/* Without this, a log that cannot be written would look like no call. */
		if (fd < 0 || write(fd, line, length) != length)
			abort();
		close(fd);
	}

	char wanted[64];
	int length = snprintf(wanted, sizeof(wanted), "%s:", function);
	const char *fail = getenv("STUB_FAIL");
	const char *found = fail ? strstr(fail, wanted) : NULL;
	return found ? atoi(found + length) : 0;
}
