/*
 * The counterpart of examples/ping/side.rs in C: the same calls of libfabric in the same order, without nearfab. `cargo
 * bench --bench ping` compares the C program with the Rust program.
 *
 *   cc -O2 -o ping ping.c -lfabric && ./ping PROVIDER ROUNDS
 *
 * The program prints the nanoseconds of a round trip, and the numbers of sends, receives and reads.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>

#define WARM_UP 100
#define ADDRESS 512

struct message {
	uint64_t number;
	struct fi_context2 context;
	void *descriptor;
};

static struct fid_ep *endpoint;
static struct fid_cq *queue;
static struct fid_av *peers;
static fi_addr_t peer;
static struct message outgoing, incoming;
static int is_sending, is_receiving;
static unsigned long sends, receives, reads;
static struct fi_cq_msg_entry room;

static void must(long status, const char *what)
{
	if (status) {
		fprintf(stderr, "%s: %s\n", what, fi_strerror(-status));
		exit(1);
	}
}

static void open_side(const char *provider)
{
	struct fi_info *hints = fi_allocinfo(), *info;
	hints->mode = FI_CONTEXT | FI_CONTEXT2;
	hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_HMEM;
	hints->fabric_attr->prov_name = strdup(provider);
	must(fi_getinfo(FI_VERSION(1, 17), NULL, NULL, 0, hints, &info), "fi_getinfo");
	while (info && info->ep_attr->type != FI_EP_RDM)
		info = info->next;

	struct fid_fabric *fabric;
	struct fid_domain *domain;
	struct fi_av_attr av = {.type = FI_AV_TABLE};
	struct fi_cq_attr cq = {.size = 16, .format = FI_CQ_FORMAT_MSG, .wait_obj = FI_WAIT_NONE};
	must(fi_fabric(info->fabric_attr, &fabric, NULL), "fi_fabric");
	must(fi_domain(fabric, info, &domain, NULL), "fi_domain");
	must(fi_av_open(domain, &av, &peers, NULL), "fi_av_open");
	must(fi_cq_open(domain, &cq, &queue, NULL), "fi_cq_open");
	must(fi_endpoint(domain, info, &endpoint, NULL), "fi_endpoint");
	must(fi_ep_bind(endpoint, &peers->fid, 0), "fi_ep_bind");
	must(fi_ep_bind(endpoint, &queue->fid, FI_TRANSMIT), "fi_ep_bind");
	must(fi_ep_bind(endpoint, &queue->fid, FI_RECV), "fi_ep_bind");
	must(fi_enable(endpoint), "fi_enable");
	if (info->domain_attr->mr_mode & FI_MR_LOCAL) {
		struct message *messages[] = {&outgoing, &incoming};
		for (int i = 0; i < 2; i++) {
			struct fid_mr *mr;
			must(fi_mr_reg(domain, &messages[i]->number, sizeof(uint64_t), FI_SEND | FI_RECV, 0, i, 0, &mr, NULL),
			     "fi_mr_reg");
			messages[i]->descriptor = fi_mr_desc(mr);
		}
	}
}

static void meet(int line)
{
	unsigned char address[ADDRESS] = {0};
	size_t length = sizeof(address);
	must(fi_getname(&endpoint->fid, address, &length), "fi_getname");
	if (write(line, address, ADDRESS) != ADDRESS)
		exit(1);
	for (size_t got = 0; got < ADDRESS;) {
		ssize_t more = read(line, address + got, ADDRESS - got);
		if (more <= 0)
			exit(1);
		got += more;
	}
	must(fi_av_insert(peers, address, 1, &peer, 0, NULL) != 1, "fi_av_insert");
}

static __attribute__((noinline)) ssize_t send_one(void)
{
	sends++;
	return fi_send(endpoint, &outgoing.number, sizeof(outgoing.number), outgoing.descriptor, peer, &outgoing.context);
}

static __attribute__((noinline)) ssize_t receive_one(void)
{
	receives++;
	return fi_recv(endpoint, &incoming.number, sizeof(incoming.number), incoming.descriptor, FI_ADDR_UNSPEC,
		       &incoming.context);
}

static __attribute__((noinline)) void read_some(void)
{
	reads++;
	ssize_t count = fi_cq_read(queue, &room, 1);
	if (count == -FI_EAGAIN)
		return;
	if (count < 0)
		must(count, "fi_cq_read");
	if (room.op_context == &outgoing.context)
		is_sending = 0;
	else
		is_receiving = 0;
}

static void send_number(uint64_t number)
{
	ssize_t status;
	outgoing.number = number;
	while ((status = send_one()) == -FI_EAGAIN)
		read_some();
	must(status, "fi_send");
	is_sending = 1;
}

static void receive(void)
{
	ssize_t status;
	while ((status = receive_one()) == -FI_EAGAIN)
		read_some();
	must(status, "fi_recv");
	is_receiving = 1;
}

static void run_round(uint64_t number)
{
	receive();
	send_number(number);
	while (is_sending || is_receiving)
		read_some();
	if (incoming.number != number + 1)
		exit(1);
}

static void answer(void)
{
	while (is_sending || is_receiving)
		read_some();
	uint64_t number = incoming.number;
	receive();
	send_number(number + 1);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	const char *provider = argv[1];
	unsigned long rounds = strtoul(argv[2], NULL, 10);
	if (argc > 3) {
		char byte;
		open_side(provider);
		meet(STDIN_FILENO);
		receive();
		for (unsigned long i = 0; i < WARM_UP + rounds; i++)
			answer();
		while (is_sending)
			read_some();
		return read(STDIN_FILENO, &byte, 1) != 0;
	}

	int line[2], status;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line))
		return 1;
	pid_t other = fork();
	if (!other) {
		dup2(line[1], STDIN_FILENO);
		execl(argv[0], argv[0], provider, argv[2], "answer", NULL);
		_exit(1);
	}
	close(line[1]);
	open_side(provider);
	meet(line[0]);
	for (unsigned long i = 0; i < WARM_UP; i++)
		run_round(i);
	struct timespec start, end;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned long i = 0; i < rounds; i++)
		run_round(i);
	clock_gettime(CLOCK_MONOTONIC, &end);
	double nanoseconds = (end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec);
	printf("%.1f %lu %lu %lu\n", nanoseconds / rounds, sends, receives, reads);
	close(line[0]);
	return waitpid(other, &status, 0) != other || status;
}
