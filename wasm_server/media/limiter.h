/* A look-ahead peak limiter: a pure delay while the sound stays under the ceiling, never above it otherwise. */
#ifndef PONTE_MEDIA_LIMITER_H
#define PONTE_MEDIA_LIMITER_H

#include <stdint.h>

void limiter_init(double sample_rate_hz);
void limiter_run(float *samples, uint32_t frames);
uint32_t limiter_delay(void);

#endif
