/* Prints the library's version and the error numbers of the header, one NAME=NUMBER a line. */
#include <nearfab.h>
#include <stdio.h>

#define PRINT(name) printf("%s=%ld\n", #name, (long)NEARFAB_ERROR_##name)

int main(void)
{
    printf("version=%s\n", nearfab_version());
    PRINT(NONE);
    PRINT(READ);
    PRINT(MALFORMED);
    PRINT(UNKNOWN_INSTANCE);
    PRINT(RECORD);
    PRINT(NO_SUCH_DEVICE);
    PRINT(BAD_NAME);
    PRINT(NOT_LIVE);
    PRINT(NODE_REFUSED);
    PRINT(LIBRARY);
    PRINT(MISSING_SYMBOL);
    PRINT(CALL);
    PRINT(FORKED);
    PRINT(DRIVER);
    PRINT(DEADLINE);
    PRINT(PROBE_REFUSED);
    PRINT(NO_TREE);
    PRINT(MEMORY);
    PRINT(SEVERAL_LIBRARIES);
    PRINT(ABORTS);
    PRINT(NO_PLAN);
    PRINT(INVALID_ARGUMENT);
    PRINT(INVALID_HANDLE);
    PRINT(INTERNAL);
    return 0;
}
