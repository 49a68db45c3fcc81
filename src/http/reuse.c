/*
 * A hot restart on a shared port (SO_REUSEPORT). The kernel spreads new connections over all sockets that listen on the
 * port; those that sit in a socket's queue when it is closed are reset. So the new instance starts to listen only when
 * it can serve, and the old one steers new connections to the new one before it empties its queue and closes.
 *
 * Steering is a program of one instruction that returns the index of the socket to take (socket(7),
 * SO_ATTACH_REUSEPORT_CBPF). The index is the order of listening, and a closed socket's place is taken by the last:
 * with two sockets, the older has 0. Linux keeps the program after a socket closes; an index that does not exist means
 * that it spreads as without one, and whoever joins takes the program away.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http/listen.h"

#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68 /* Linux 5.3 */
#endif

#define STATE_LISTEN 0x0A

/* The local address as /proc/net/tcp prints it, and which of the two files. */
static const char *proc_address(int fd, char ret[48])
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);

    if (getsockname(fd, (struct sockaddr *)(void *)&bound, &size) < 0)
        return NULL;
    if (bound.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)&bound;
        uint32_t words[4];

        memcpy(words, &in6->sin6_addr, sizeof(words));
        snprintf(ret, 48, "%08X%08X%08X%08X:%04X", words[0], words[1], words[2], words[3], ntohs(in6->sin6_port));
        return "/proc/self/net/tcp6";
    }
    if (bound.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&bound;

        snprintf(ret, 48, "%08X:%04X", in->sin_addr.s_addr, ntohs(in->sin_port));
        return "/proc/self/net/tcp";
    }
    return NULL;
}

/* How many other sockets listen on the same address and port; the inode of the last one found. */
static int find_others(int fd, unsigned long long *ret_inode)
{
    char wanted[48], local[48], line[512];
    const char *path = proc_address(fd, wanted);
    unsigned long long inode;
    unsigned state;
    struct stat own;
    FILE *file;
    int n = 0;

    *ret_inode = 0;
    if (!path || fstat(fd, &own) < 0 || !(file = fopen(path, "re")))
        return 0;
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, " %*d: %47s %*s %x %*s %*s %*s %*d %*d %llu", local, &state, &inode) != 3 ||
            state != STATE_LISTEN || strcmp(local, wanted) != 0 || inode == own.st_ino)
            continue;
        *ret_inode = inode;
        n++;
    }
    fclose(file);
    return n;
}

enum qd_status qd_listener_join(struct qd_listener *listener, struct qd_error *err)
{
    int unused = 0;

    if (listen(listener->fd, QD_BACKLOG) < 0)
        return qd_error_set(err, QD_IO, "cannot listen on port %d: %s", listener->port, strerror(errno));
    listener->is_waiting = false;
    /* Fails where there is no program. */
    (void)setsockopt(listener->fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &unused, sizeof(unused));
    if (find_others(listener->fd, &listener->older_inode) > 1)
        listener->older_inode = 0;
    return QD_OK;
}

bool qd_listener_hand_over(const struct qd_listener *listener)
{
    unsigned long long other;
    struct sock_filter instruction = BPF_STMT(BPF_RET | BPF_K, 1);
    struct sock_fprog program = {1, &instruction};

    if (!listener->is_shared || find_others(listener->fd, &other) != 1)
        return false;
    instruction.k = other == listener->older_inode ? 0 : 1;
    return setsockopt(listener->fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) == 0;
}
