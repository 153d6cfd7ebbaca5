/* From the jitter buffer's 8 kHz to the context's rate: a polyphase filter, flat to 3.4 kHz, 1.5 ms long. */
#ifndef PONTE_MEDIA_RESAMPLE_H
#define PONTE_MEDIA_RESAMPLE_H

#include <stdint.h>

/* A whole number of hertz; rates whose ratio to 8 kHz needs more than RESAMPLE_PHASES phases take the nearest one. */
void resample_init(uint32_t rate_hz);
void resample_read(float *out, uint32_t frames);

#endif
