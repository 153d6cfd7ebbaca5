/* The packet loop of the load generator: sends on every stream each 20 ms, and takes what comes.
 *
 * A stream is one end of a call: a socket, and where the peer speaks SRTP, libsrtp's two contexts and functions, which
 * Python hands in. The instant of sending travels in the payload; that of receipt is the kernel's, so that how late this
 * process is woken up does not count. Streams send one after the other, spread evenly over the 20 ms.
 *
 * Built by tests/bench/load/native.py.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 12, PAYLOAD = 160, PACKET = 2048, EVENTS = 64 };
static const int64_t SECOND = 1000000000, PERIOD = 20000000;

typedef int (*srtp_function)(void *context, void *packet, int *length);
typedef void (*other_function)(int stream, const uint8_t *packet, int length, uint32_t host, int port);

struct stream {
    int fd;
    uint32_t host;      /* where it sends to, IPv4 in network order */
    uint16_t port;      /* in network order */
    uint16_t sequence;
    uint32_t timestamp;
    uint32_t ssrc;
    int32_t hears;      /* index of the stream whose packets come here */
    void *protect_context, *unprotect_context; /* NULL: plain RTP */
    int64_t unsent;     /* the socket did not take it */
    int64_t undecryptable;
    int64_t foreign;    /* RTP, but not of the stream that was expected, or of another run */
    int64_t again;      /* came twice */
    int64_t disordered; /* came after a later one */
    int32_t latest;
};

struct load {
    struct stream *streams;
    int32_t count;
    uint32_t run;             /* a number that tells the packets of this run from those of others */
    float *delay_ms;          /* [count][rounds], by sending stream; the caller fills it with NaN */
    int32_t rounds;
    int64_t linger_ns;        /* how long what is still on its way is waited for */
    srtp_function protect, unprotect;
    other_function other;     /* takes STUN and DTLS */
    const uint8_t *audio;     /* PAYLOAD bytes that fill a packet behind its stamp, one frame of many */
    int32_t frames;
    volatile int32_t stop;
    int64_t latest_send_ns;   /* by how much a packet was sent too late at worst */
};

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static void put32(uint8_t *to, uint32_t value) { value = htonl(value); memcpy(to, &value, 4); }
static uint32_t get32(const uint8_t *from) { uint32_t value; memcpy(&value, from, 4); return ntohl(value); }

static void send_one(struct load *load, int index, int round) {
    struct stream *stream = &load->streams[index];
    uint8_t packet[HEADER + PAYLOAD + 256];
    int length = HEADER + PAYLOAD;
    uint16_t sequence = htons(stream->sequence++);
    packet[0] = 0x80;
    packet[1] = 0; /* PCMU */
    memcpy(packet + 2, &sequence, 2);
    put32(packet + 4, stream->timestamp);
    put32(packet + 8, stream->ssrc);
    stream->timestamp += PAYLOAD;
    memcpy(packet + HEADER, load->audio + (size_t)((round + index) % load->frames) * PAYLOAD, PAYLOAD);
    put32(packet + HEADER + 8, load->run << 16 | (uint32_t)index);
    put32(packet + HEADER + 12, (uint32_t)round);
    int64_t at = now_ns();
    memcpy(packet + HEADER, &at, 8);
    if (stream->protect_context && load->protect(stream->protect_context, packet, &length)) {
        stream->unsent++;
        return;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = stream->port, .sin_addr = {stream->host}};
    if (sendto(stream->fd, packet, length, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to) != length) stream->unsent++;
}

/* Take one packet; 0 where there is none. */
static int receive_one(struct load *load, int index) {
    struct stream *stream = &load->streams[index];
    uint8_t packet[PACKET] __attribute__((aligned(8))), control[64];
    struct sockaddr_in from;
    struct iovec vector = {packet, sizeof packet};
    struct msghdr message = {&from, sizeof from, &vector, 1, control, sizeof control, 0};
    int length = recvmsg(stream->fd, &message, MSG_DONTWAIT);
    if (length < 0) return errno == ECONNREFUSED; /* an ICMP error of an earlier packet */
    if (length < HEADER || packet[0] < 128 || packet[0] > 191) {
        load->other(index, packet, length, from.sin_addr.s_addr, ntohs(from.sin_port));
        return 1;
    }
    if (packet[1] >= 192 && packet[1] <= 223) return 1; /* RTCP */
    int64_t at = 0;
    for (struct cmsghdr *found = CMSG_FIRSTHDR(&message); found; found = CMSG_NXTHDR(&message, found))
        if (found->cmsg_level == SOL_SOCKET && found->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec stamp;
            memcpy(&stamp, CMSG_DATA(found), sizeof stamp);
            at = stamp.tv_sec * SECOND + stamp.tv_nsec;
        }
    if (stream->unprotect_context && load->unprotect(stream->unprotect_context, packet, &length)) {
        stream->undecryptable++;
        return 1;
    }
    uint32_t who = get32(packet + HEADER + 8);
    int32_t round = (int32_t)get32(packet + HEADER + 12);
    if (length != HEADER + PAYLOAD || who != (load->run << 16 | (uint32_t)stream->hears) || round < 0 ||
        round >= load->rounds) {
        stream->foreign++;
        return 1;
    }
    int64_t sent;
    memcpy(&sent, packet + HEADER, 8);
    float *delay = &load->delay_ms[(size_t)stream->hears * load->rounds + round];
    if (*delay == *delay) stream->again++;
    *delay = (float)(at - sent) / 1e6f;
    if (round < stream->latest) stream->disordered++; else stream->latest = round;
    return 1;
}

/* Send `rounds` packets on every stream; 0, or errno. */
int run(struct load *load) {
    int on = 1, off = 0, error = 0;
    int poll = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    if (poll < 0 || timer < 0) return errno;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = UINT32_MAX}, events[EVENTS];
    epoll_ctl(poll, EPOLL_CTL_ADD, timer, &event);
    for (int i = 0; i < load->count; i++) {
        load->streams[i].latest = -1;
        setsockopt(load->streams[i].fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
        event.data.u32 = i;
        if (epoll_ctl(poll, EPOLL_CTL_ADD, load->streams[i].fd, &event)) error = errno;
    }
    struct timespec start_at;
    clock_gettime(CLOCK_MONOTONIC, &start_at);
    int64_t start = start_at.tv_sec * SECOND + start_at.tv_nsec + PERIOD / 2;
    int64_t step = 0, steps = (int64_t)load->count * load->rounds, end = 0;
    while (!error && !load->stop) {
        struct timespec clock;
        clock_gettime(CLOCK_MONOTONIC, &clock);
        int64_t now = clock.tv_sec * SECOND + clock.tv_nsec;
        if (step < steps) {
            int64_t due = start + step / load->count * PERIOD + step % load->count * PERIOD / load->count;
            if (now >= due) {
                if (now - due > load->latest_send_ns) load->latest_send_ns = now - due;
                send_one(load, step % load->count, step / load->count);
                step++;
                continue;
            }
            struct itimerspec alarm = {.it_value = {due / SECOND, due % SECOND}};
            timerfd_settime(timer, TFD_TIMER_ABSTIME, &alarm, NULL);
        } else if (!end) {
            end = now + load->linger_ns;
            struct itimerspec alarm = {.it_value = {end / SECOND, end % SECOND}};
            timerfd_settime(timer, TFD_TIMER_ABSTIME, &alarm, NULL);
        } else if (now >= end) break;
        int found = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < found; i++) {
            if (events[i].data.u32 == UINT32_MAX) {
                uint64_t expirations;
                if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) error = errno;
            } else while (receive_one(load, events[i].data.u32)) ;
        }
    }
    for (int i = 0; i < load->count; i++)
        setsockopt(load->streams[i].fd, SOL_SOCKET, SO_TIMESTAMPNS, &off, sizeof off);
    close(timer);
    close(poll);
    return error;
}
