/* Checks for the C test programs. A check that fails prints its place and ends the program. */
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition,    \
                    nearfab_error_text());                                                    \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

#define CHECK_CODE(call, code) CHECK((call) == (code))
#define CHECK_OK(call) CHECK_CODE(call, NEARFAB_ERROR_NONE)
