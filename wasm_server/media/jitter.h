/*
 * A jitter buffer for G.711 at 8 kHz: samples by timestamp in, one sample after the other out.
 *
 * Time is counted in samples that went out ("played"); a packet's lateness is that count less its timestamp. The reading
 * position stays so far behind that packets come a margin early, but for those that came late in one half second of
 * the last eight only. The margin is 10 ms, and on a line on which nothing uses it up goes down to 3.
 */
#ifndef PONTE_MEDIA_JITTER_H
#define PONTE_MEDIA_JITTER_H

#include <stdint.h>

#define JITTER_RATE_HZ 8000
#define JITTER_STATS 9

void jitter_init(void);
/* `law` is the RTP payload type: 0 for PCMU, 8 for PCMA. A new `stream` number is another SSRC or connection. */
void jitter_push(const uint8_t *bytes, uint32_t length, uint32_t law, uint32_t timestamp, uint32_t stream);
double jitter_next(void);
/* Figures in the order of abi.h. */
double jitter_stat(uint32_t index);

#endif
