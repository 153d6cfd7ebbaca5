/* Buffers, mixing, tone and meter. The rest is in files of its own. twin.py says the same in Python. */
#include "abi.h"
#include "jitter.h"
#include "limiter.h"
#include "math.h"
#include "resample.h"

/* A sample this close to full scale has been cut, or will be by whatever comes next. */
static const float CLIP_LEVEL = 0.999f;
/* Mean power over a block below which it is silence: -60 dB under a full-scale sine. */
static const double SILENCE_POWER = 0.5e-6;
/* A tone that starts or stops at once clicks; 5 ms of raised cosine does not. */
static const double FADE_S = 0.005;

static float inputs_buffer[MEDIA_MAX_INPUTS][MEDIA_BLOCK_FRAMES];
static float output_buffer[MEDIA_BLOCK_FRAMES];
static uint8_t frame_buffer[MEDIA_FRAME_BYTES];
static double sample_rate = 48000.0;

static struct {
    double step[2];
    double amplitude[2];
    double phase[2];
    uint32_t total;
    uint32_t done;
    uint32_t fade;
} tone;

static struct {
    double energy;
    float peak;
    uint32_t clipped;
    uint32_t frames;
    uint32_t silent_frames;
} meter;

static uint32_t within(uint32_t frames) { return frames < MEDIA_BLOCK_FRAMES ? frames : MEDIA_BLOCK_FRAMES; }

uint32_t abi_version(void) { return MEDIA_ABI_VERSION; }
uint32_t media_max_inputs(void) { return MEDIA_MAX_INPUTS; }
uint32_t media_block_frames(void) { return MEDIA_BLOCK_FRAMES; }
float *media_output(void) { return output_buffer; }
float *media_input(uint32_t index) { return index < MEDIA_MAX_INPUTS ? inputs_buffer[index] : 0; }

void media_meter_reset(void) {
    meter.energy = 0.0;
    meter.peak = 0.0f;
    meter.clipped = 0;
    meter.frames = 0;
}

void media_init(float sample_rate_hz) {
    sample_rate = sample_rate_hz >= 8000.0f ? sample_rate_hz : 8000.0;
    if (sample_rate > 192000.0) {
        sample_rate = 192000.0;
    }
    tone.total = 0;
    tone.done = 0;
    meter.silent_frames = 0;
    media_meter_reset();
    limiter_init(sample_rate);
    jitter_init();
    resample_init((uint32_t)(sample_rate + 0.5));
}

void media_mix(uint32_t inputs, uint32_t frames) {
    frames = within(frames);
    if (inputs > MEDIA_MAX_INPUTS) {
        inputs = MEDIA_MAX_INPUTS;
    }
    for (uint32_t i = 0; i < frames; i++) {
        output_buffer[i] = 0.0f;
    }
    for (uint32_t n = 0; n < inputs; n++) {
        const float *in = inputs_buffer[n];
        for (uint32_t i = 0; i < frames; i++) {
            const float x = in[i];
            /* Neither NaN nor infinity passes: one such sample would stay in the limiter for good. */
            output_buffer[i] += x > -1024.0f && x < 1024.0f ? x : 0.0f;
        }
    }
}

void media_tone_start(float first_hz, float first_dbfs, float second_hz, float second_dbfs, uint32_t frames) {
    const double hz[2] = {first_hz, second_hz};
    const double dbfs[2] = {first_dbfs, second_dbfs};
    for (int k = 0; k < 2; k++) {
        const int sounds = hz[k] > 0.0 && hz[k] < sample_rate / 2.0;
        tone.step[k] = sounds ? hz[k] / sample_rate : 0.0;
        tone.amplitude[k] = sounds ? amplitude_of_db(dbfs[k]) : 0.0;
        tone.phase[k] = 0.0;
    }
    tone.total = frames;
    tone.done = 0;
    tone.fade = (uint32_t)(FADE_S * sample_rate);
    if (tone.fade > frames / 2) {
        tone.fade = frames / 2;
    }
}

/* Raised cosine: 0 before the first frame of the fade, 1 after its last. */
static double fade_gain(uint32_t position) {
    return 0.5 - 0.5 * sine_of_turns(0.25 + 0.5 * (double)(position + 1) / (double)(tone.fade + 1));
}

uint32_t media_tone(uint32_t frames) {
    frames = within(frames);
    for (uint32_t i = 0; i < frames && tone.done < tone.total; i++) {
        const uint32_t left = tone.total - 1 - tone.done;
        double gain = 1.0;
        if (tone.done < tone.fade) {
            gain = fade_gain(tone.done);
        } else if (left < tone.fade) {
            gain = fade_gain(left);
        }
        double value = 0.0;
        for (int k = 0; k < 2; k++) {
            value += tone.amplitude[k] * sine_of_turns(tone.phase[k]);
            tone.phase[k] += tone.step[k];
            tone.phase[k] -= __builtin_floor(tone.phase[k]);
        }
        output_buffer[i] += (float)(gain * value);
        tone.done++;
    }
    return tone.total - tone.done;
}

void media_meter(uint32_t frames) {
    frames = within(frames);
    if (frames == 0) {
        return;
    }
    double energy = 0.0;
    float peak = meter.peak;
    uint32_t clipped = 0;
    for (uint32_t i = 0; i < frames; i++) {
        const float x = output_buffer[i];
        const float magnitude = __builtin_fabsf(x);
        energy += (double)x * (double)x;
        peak = magnitude > peak ? magnitude : peak;
        clipped += magnitude >= CLIP_LEVEL;
    }
    meter.energy += energy;
    meter.peak = peak;
    meter.clipped += clipped;
    meter.frames += frames;
    if (energy < SILENCE_POWER * (double)frames) {
        const uint32_t room = UINT32_MAX - meter.silent_frames;
        meter.silent_frames += frames < room ? frames : room;
    } else {
        meter.silent_frames = 0;
    }
}

float media_meter_rms_dbfs(void) {
    return meter.frames == 0 ? -200.0f : (float)db_of_power(2.0 * meter.energy / (double)meter.frames);
}

float media_meter_peak_dbfs(void) { return (float)db_of_power((double)meter.peak * (double)meter.peak); }
uint32_t media_meter_clipped(void) { return meter.clipped; }
uint32_t media_meter_frames(void) { return meter.frames; }
uint32_t media_silent_frames(void) { return meter.silent_frames; }

void media_limit(uint32_t frames) { limiter_run(output_buffer, within(frames)); }
uint32_t media_limit_delay(void) { return limiter_delay(); }

uint8_t *media_frame(void) { return frame_buffer; }
uint32_t media_frame_bytes(void) { return MEDIA_FRAME_BYTES; }

void media_jitter_push(uint32_t length, uint32_t law, uint32_t timestamp, uint32_t stream) {
    if (length <= MEDIA_FRAME_BYTES) {
        jitter_push(frame_buffer, length, law, timestamp, stream);
    }
}

void media_jitter_read(uint32_t index, uint32_t frames) {
    if (index < MEDIA_MAX_INPUTS) {
        resample_read(inputs_buffer[index], within(frames));
    }
}

void media_jitter_reset(void) { jitter_init(); }
double media_jitter_stat(uint32_t index) { return jitter_stat(index); }

void media_process(uint32_t inputs, uint32_t frames) {
    media_mix(inputs, frames);
    media_tone(frames);
    media_meter(frames);
    media_limit(frames);
}
