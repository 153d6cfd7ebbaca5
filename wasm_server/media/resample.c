#include "resample.h"

#include "jitter.h"
#include "math.h"

#define TAPS 24
#define PHASES 480 /* enough for 44.1 kHz (441) exactly, and 48 kHz and its parts and multiples */

/* Kaiser's parameter for 60 dB. 24 taps at 8 kHz then pass 3.4 kHz and stop 4.6 kHz. */
static const double BETA = 5.65;
static const double PI = 3.14159265358979323846;

static float taps[PHASES][TAPS];
static float window[TAPS]; /* newest first */
static uint32_t in_step;
static uint32_t out_step;
static uint32_t position; /* of the output between two samples, in units of 1 / out_step */

/* The modified Bessel function of the first kind, order 0, by its series; x up to 6. */
static double bessel_0(double x) {
    double sum = 1.0;
    double term = 1.0;
    for (int k = 1; k < 24; k++) {
        term *= (x / (2.0 * k)) * (x / (2.0 * k));
        sum += term;
    }
    return sum;
}

static double weight(double at) {
    const double edge = at / (TAPS / 2);
    if (edge < -1.0 || edge > 1.0) {
        return 0.0;
    }
    const double sinc = at == 0.0 ? 1.0 : sine_of_turns(at / 2.0) / (PI * at);
    return sinc * bessel_0(BETA * __builtin_sqrt(1.0 - edge * edge));
}

void resample_init(uint32_t rate_hz) {
    uint32_t a = rate_hz;
    uint32_t b = JITTER_RATE_HZ;
    while (b != 0) {
        const uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    in_step = JITTER_RATE_HZ / a;
    out_step = rate_hz / a;
    position = 0;
    const uint32_t phases = out_step < PHASES ? out_step : PHASES;
    for (uint32_t phase = 0; phase < phases; phase++) {
        double row[TAPS];
        double sum = 0.0;
        for (uint32_t k = 0; k < TAPS; k++) {
            row[k] = weight((double)k - TAPS / 2 + (double)phase / (double)phases);
            sum += row[k];
        }
        for (uint32_t k = 0; k < TAPS; k++) {
            taps[phase][k] = (float)(row[k] / sum);
        }
    }
    for (uint32_t k = 0; k < TAPS; k++) {
        window[k] = 0.0f;
    }
}

void resample_read(float *out, uint32_t frames) {
    const int exact = out_step <= PHASES;
    for (uint32_t i = 0; i < frames; i++) {
        const float *row = taps[exact ? position : (uint32_t)((uint64_t)position * PHASES / out_step)];
        float sum = 0.0f;
        for (uint32_t k = 0; k < TAPS; k++) {
            sum += row[k] * window[k];
        }
        out[i] = sum;
        position += in_step;
        while (position >= out_step) {
            position -= out_step;
            for (uint32_t k = TAPS - 1; k > 0; k--) {
                window[k] = window[k - 1];
            }
            window[0] = (float)jitter_next();
        }
    }
}
