/* G.711: one byte to one sample, full scale 1.0. The law is named by its RTP payload type (RFC 3551). */
#ifndef PONTE_MEDIA_G711_H
#define PONTE_MEDIA_G711_H

#include <stdint.h>

#define G711_PCMU 0
#define G711_PCMA 8

static inline int g711_known(uint32_t law) { return law == G711_PCMU || law == G711_PCMA; }

static inline double g711_decode(uint8_t byte, uint32_t law) {
    if (law == G711_PCMU) {
        const int32_t bits = ~byte & 0xff;
        const int32_t magnitude = ((((bits & 0x0f) << 3) + 0x84) << ((bits >> 4) & 7)) - 0x84;
        return (double)(bits & 0x80 ? -magnitude : magnitude) / 32768.0;
    }
    const int32_t bits = byte ^ 0x55;
    const int32_t segment = (bits >> 4) & 7;
    int32_t magnitude = ((bits & 0x0f) << 4) + 8;
    if (segment > 0) {
        magnitude = (magnitude + 0x100) << (segment - 1);
    }
    return (double)(bits & 0x80 ? magnitude : -magnitude) / 32768.0;
}

#endif
