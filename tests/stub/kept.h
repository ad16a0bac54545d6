/*
 * The stand-ins for vendor libraries keep their objects in a list. Some objects are never destroyed: the destroying
 * function failed, or the objects belong to the parent of a forked process. Leak checkers reach these objects through
 * the list and do not report them.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

struct kept {
	struct kept *next;
	max_align_t object;
};

static struct kept *kept;
static pthread_mutex_t keeping = PTHREAD_MUTEX_INITIALIZER;

static void *make(size_t size)
{
	struct kept *made = calloc(1, offsetof(struct kept, object) + size);
	if (!made)
		abort();
	pthread_mutex_lock(&keeping);
	made->next = kept;
	kept = made;
	pthread_mutex_unlock(&keeping);
	return &made->object;
}

static void unmake(void *object)
{
	pthread_mutex_lock(&keeping);
	struct kept **at = &kept;
	while ((void *)&(*at)->object != object)
		at = &(*at)->next;
	struct kept *made = *at;
	*at = made->next;
	pthread_mutex_unlock(&keeping);
	free(made);
}
