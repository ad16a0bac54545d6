/* Holds the namespaces of a pod open until a signal ends this process. Reaps the orphaned processes of the pod. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_signal(int number)
{
	if (number != SIGCHLD)
		_exit(EXIT_SUCCESS);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int main(void)
{
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	signal(SIGCHLD, on_signal);
	for (;;)
		pause();
}
