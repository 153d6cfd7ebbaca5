/*
 * What media.wasm exports. The page's worklet (page/src/worklet) and the tests call these and nothing else.
 *
 * One instance of the module serves one worklet node: all state is static, nothing is allocated.
 * Samples are 32-bit floats, full scale is 1.0. A call works on at most MEDIA_BLOCK_FRAMES frames.
 * Order in a block: mix, tone, meter, limit.
 */
#ifndef PONTE_MEDIA_ABI_H
#define PONTE_MEDIA_ABI_H

#include <stdint.h>

/* Raised with any change that an older worklet.js could not drive; build.py reads it from here. */
#define MEDIA_ABI_VERSION 1

#define MEDIA_MAX_INPUTS 8
#define MEDIA_BLOCK_FRAMES 1024
#define MEDIA_FRAME_BYTES 160

#define MEDIA_EXPORT(name) __attribute__((export_name(#name))) name

/* The number that must equal the one of the caller, before anything else is called. */
uint32_t MEDIA_EXPORT(abi_version)(void);

/* Sets the sample rate and forgets all earlier sound. 8000 to 192000 Hz; others are clamped. */
void MEDIA_EXPORT(media_init)(float sample_rate_hz);

/* Addresses of the buffers in linear memory, MEDIA_BLOCK_FRAMES floats each. An index out of range gives 0. */
float *MEDIA_EXPORT(media_input)(uint32_t index);
float *MEDIA_EXPORT(media_output)(void);
uint32_t MEDIA_EXPORT(media_max_inputs)(void);
uint32_t MEDIA_EXPORT(media_block_frames)(void);

/* Output becomes the sum of the first `inputs` buffers. What is not a number counts as silence. */
void MEDIA_EXPORT(media_mix)(uint32_t inputs, uint32_t frames);

/*
 * Two sines of the given levels (dBFS: 0 is an amplitude of 1.0) for `frames` frames, faded in and out. A frequency
 * of 0 or beyond half the sample rate leaves that sine out. Replaces a tone that is still playing.
 */
void MEDIA_EXPORT(media_tone_start)(float first_hz, float first_dbfs, float second_hz, float second_dbfs,
                                    uint32_t frames);
/* Adds the tone to the output; returns how many frames of it are left. */
uint32_t MEDIA_EXPORT(media_tone)(uint32_t frames);

/* Takes the output into the meter. */
void MEDIA_EXPORT(media_meter)(uint32_t frames);
/* The meter since its last reset. rms is relative to a full-scale sine (AES17), so a tone reads as its own level. */
float MEDIA_EXPORT(media_meter_rms_dbfs)(void);
float MEDIA_EXPORT(media_meter_peak_dbfs)(void);
uint32_t MEDIA_EXPORT(media_meter_clipped)(void);
uint32_t MEDIA_EXPORT(media_meter_frames)(void);
void MEDIA_EXPORT(media_meter_reset)(void);
/* Frames of unbroken silence up to now, not touched by the reset; saturates. */
uint32_t MEDIA_EXPORT(media_silent_frames)(void);

/* Holds the output at or below the ceiling; delays it by media_limit_delay() frames. */
void MEDIA_EXPORT(media_limit)(uint32_t frames);
uint32_t MEDIA_EXPORT(media_limit_delay)(void);

/*
 * The jitter buffer for encoded sound (jitter.h). A frame of G.711, at most MEDIA_FRAME_BYTES long, is written to
 * media_frame() and pushed; `law` is its RTP payload type (0 PCMU, 8 PCMA, others are ignored), `timestamp` that of its
 * first sample, and a new `stream` number says that the timestamps have nothing to do with the earlier ones.
 */
uint8_t *MEDIA_EXPORT(media_frame)(void);
uint32_t MEDIA_EXPORT(media_frame_bytes)(void);
void MEDIA_EXPORT(media_jitter_push)(uint32_t length, uint32_t law, uint32_t timestamp, uint32_t stream);
/* Writes the next frames, at the sample rate of media_init, to an input buffer. */
void MEDIA_EXPORT(media_jitter_read)(uint32_t index, uint32_t frames);
/* Forgets the line and all sound; for a reader that was away. */
void MEDIA_EXPORT(media_jitter_reset)(void);
/*
 * Since the last reset: 0 packets; 1 how long one waits before its turn, on average over the last 16; 2 how much longer
 * it should; 3 concealed; 4 came too late; 5 taken out and 6 put in to keep the delay; 7 given up after a stall, all
 * in ms; 8 times that the line was learnt anew.
 */
double MEDIA_EXPORT(media_jitter_stat)(uint32_t index);

/* mix, tone, meter and limit in one call. */
void MEDIA_EXPORT(media_process)(uint32_t inputs, uint32_t frames);

#endif
