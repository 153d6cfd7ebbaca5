#include "limiter.h"

/* -1 dBFS. */
static const float CEILING = 0.89125094f;
/* Long enough for the gain to glide instead of step, short enough not to be noticed in a conversation's delay. */
static const double LOOKAHEAD_S = 0.001;
/* Time constant with which the gain comes back; faster would follow the waveform of low voices and distort them. */
static const double RELEASE_S = 0.080;

#define MAX_WINDOW 192 /* LOOKAHEAD_S at 192 kHz */

static uint32_t window = 48;
/* Double: near one, the steps of the release vanish in single precision and the gain would never be one again. */
static double release = 0.0;
/* Rings of the last `window` frames: the sound, the gain each frame needs, and the gain after hold and release. */
static float sound[MAX_WINDOW];
static float needed[MAX_WINDOW];
static float held[MAX_WINDOW];
static uint32_t at = 0;
static double envelope = 1.0;
/* Frames since the gain was last below one, saturating at two windows: then the rings hold nothing but ones. */
static uint32_t open_frames = 0;

void limiter_init(double sample_rate_hz) {
    window = (uint32_t)(LOOKAHEAD_S * sample_rate_hz + 0.5);
    if (window > MAX_WINDOW) {
        window = MAX_WINDOW;
    }
    /* First order of 1 - exp(-1/(T*fs)): the difference is below 0.1 % at 8 kHz. */
    release = 1.0 / (RELEASE_S * sample_rate_hz);
    for (uint32_t i = 0; i < MAX_WINDOW; i++) {
        sound[i] = 0.0f;
        needed[i] = 1.0f;
        held[i] = 1.0f;
    }
    at = 0;
    envelope = 1.0;
    open_frames = 2 * MAX_WINDOW;
}

uint32_t limiter_delay(void) { return window - 1; }

/* The gain for the frame that leaves: every held gain of the window was computed with that frame in sight. */
static float glide(void) {
    float lowest = 1.0f;
    for (uint32_t i = 0; i < window; i++) {
        lowest = needed[i] < lowest ? needed[i] : lowest;
    }
    envelope += (1.0 - envelope) * release;
    envelope = (double)lowest < envelope ? (double)lowest : envelope;
    /* Without this the exponential would approach one for ever and never be a pure delay again. */
    if (envelope > 0.99999) {
        envelope = 1.0;
    }
    held[at] = (float)envelope;
    float sum = 0.0f;
    for (uint32_t i = 0; i < window; i++) {
        sum += held[i];
    }
    return sum / (float)window;
}

void limiter_run(float *samples, uint32_t frames) {
    for (uint32_t i = 0; i < frames; i++) {
        const float in = samples[i];
        const float magnitude = __builtin_fabsf(in);
        const uint32_t oldest = at + 1 < window ? at + 1 : 0;
        sound[at] = in;
        needed[at] = magnitude > CEILING ? CEILING / magnitude : 1.0f;
        if (needed[at] < 1.0f || envelope < 1.0) {
            open_frames = 0;
        } else if (open_frames < 2 * window) {
            open_frames++;
        }
        float gain = 1.0f;
        if (open_frames < 2 * window) {
            gain = glide();
        } else {
            held[at] = 1.0f;
        }
        const float out = sound[oldest] * gain;
        /* Rounding of the mean may leave it one part in ten million too high. */
        samples[i] = out > CEILING ? CEILING : out < -CEILING ? -CEILING : out;
        at = oldest;
    }
}
