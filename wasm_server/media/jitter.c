/* The jitter buffer. Doubles throughout, so that twin_jitter.py, which takes the same decisions, makes the same sound. */
#include "jitter.h"

#include "g711.h"

#define SPAN 8192 /* 1 s of samples by timestamp; a power of two */
#define PAST 512  /* what went out last; a power of two */
#define MOST_LAG 120 /* 67 Hz */
#define SLOTS 8

static const uint32_t SLOT = 4000;  /* 500 ms in which the latest packet counts */
static const int32_t MARGIN = 80;   /* 10 ms at first, and after a packet came too late */
static const int32_t LEAST_MARGIN = 24; /* 3 ms, where none does: */
static const int32_t LESS = 8;          /* 1 ms less */
static const int32_t CALM = 4;          /* for so many slots in which half of it would have done */
static const int32_t HURRY = 160;    /* 20 ms off the aim: one change follows the other, however it sounds */
static const int32_t LEAP = 2400;    /* 300 ms above it, the oldest sound is given up */
static const uint32_t REST = 800;    /* between changes where there is no hurry, */
static const uint32_t LONG_REST = 3200; /* and where all that is at stake is a little delay */
static const uint32_t LOOK = 40;     /* between looks at the aim */
static const int32_t FORGET = 3200;  /* 400 ms without a packet: the line is learnt anew */
static const int32_t HOLD = 160;     /* concealment at its full level, and then down to nothing at FADED */
static const int32_t FADED = 640;
static const int32_t MERGE = 40;     /* cross-fade from concealment to what came */
static const int32_t MEND = 16;      /* over which the step at the start of concealment is spread */
static const int32_t LEAST_PITCH = 40;
static const int32_t LEAST_LAG = 20; /* 400 Hz */
static const double ALIKE = 0.7;     /* correlation from which two periods pass for one */
static const double QUIET = 1e-5;    /* mean square, -47 dBFS: what differs there is not heard */

static struct {
    double sound[SPAN];
    uint8_t here[SPAN];
    double past[PAST];
    uint32_t past_end;
    int started;
    uint32_t stream;
    uint32_t next;   /* timestamp that goes out next */
    uint32_t end;    /* behind the latest sample that came */
    uint32_t played; /* samples that went out */
    int32_t dry;     /* of them since the end was reached */
    int32_t latest[SLOTS];
    uint8_t known[SLOTS];
    uint32_t slot;
    uint32_t slot_since;
    uint32_t looked;
    uint32_t changed;
    double made[MOST_LAG];
    int32_t made_count;
    int32_t made_at;
    double period[MOST_LAG];
    int32_t period_length;
    int32_t period_at;
    int32_t concealed;
    int32_t merged;
    double step;
    int concealing;
    double wait;
    int32_t margin;
    int32_t tightest; /* in this slot, by how much the latest packet came in time */
    int32_t calm;
    double counts[JITTER_STATS];
} jb;

enum { PACKETS, WAIT, AIM, CONCEALED, LATE, TAKEN, PUT, GIVEN_UP, RESTARTS };

static int32_t apart(uint32_t later, uint32_t earlier) { return (int32_t)(later - earlier); }
static double past(int32_t back) { return jb.past[(jb.past_end - (uint32_t)back) % PAST]; }
static double ahead(int32_t at) { return jb.sound[(jb.next + (uint32_t)at) % SPAN]; }
/* Off the aim by more than this, time is taken out (5 ms where the margin is 10), or put in. */
static int32_t too_much(void) { return 20 + jb.margin / 4; }
static int32_t too_little(void) { return jb.margin * 2 / 5; }
/* Less than either, so that no change provokes its contrary. */
static int32_t overshoot(void) { return jb.margin * 3 / 10; }

void jitter_init(void) {
    uint8_t *bytes = (uint8_t *)&jb;
    for (uint32_t i = 0; i < sizeof jb; i++) {
        bytes[i] = 0;
    }
    jb.margin = MARGIN;
    jb.tightest = INT32_MAX;
}

static void skip(int32_t samples) {
    for (int32_t i = 0; i < samples && i < SPAN; i++) {
        jb.here[(jb.next + (uint32_t)i) % SPAN] = 0;
    }
    jb.next += (uint32_t)samples;
}

static void restart(uint32_t timestamp, uint32_t stream) {
    for (uint32_t i = 0; i < SPAN; i++) {
        jb.here[i] = 0;
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        jb.known[i] = 0;
    }
    jb.counts[RESTARTS] += jb.started ? 1.0 : 0.0;
    jb.started = 1;
    jb.stream = stream;
    jb.margin = MARGIN;
    jb.tightest = INT32_MAX;
    jb.calm = 0;
    jb.next = timestamp - (uint32_t)MARGIN;
    jb.end = timestamp;
    jb.dry = 0;
    jb.slot_since = jb.played;
    jb.wait = MARGIN;
}

/* By how much (samples) the packet came before its turn. */
static void note_spare(int32_t early) {
    if (early < 0) {
        jb.margin = MARGIN;
        jb.calm = 0;
    }
    jb.tightest = early < jb.tightest ? early : jb.tightest;
}

/* A slot is over in which packets came: was the margin more than they needed? */
static void judge_margin(void) {
    if (jb.tightest == INT32_MAX) {
        return;
    }
    if (2 * jb.tightest < jb.margin) {
        jb.calm = 0;
        jb.margin = jb.margin + LESS < MARGIN ? jb.margin + LESS : MARGIN;
    } else if (++jb.calm >= CALM) {
        jb.calm = 0;
        jb.margin = jb.margin - LESS > LEAST_MARGIN ? jb.margin - LESS : LEAST_MARGIN;
    }
    jb.tightest = INT32_MAX;
}

static void note_lateness(int32_t lateness) {
    for (uint32_t turns = 0; turns < SLOTS && jb.played - jb.slot_since >= SLOT; turns++) {
        judge_margin();
        jb.slot_since += SLOT;
        jb.slot = (jb.slot + 1) % SLOTS;
        jb.known[jb.slot] = 0;
    }
    if (!jb.known[jb.slot] || lateness > jb.latest[jb.slot]) {
        jb.latest[jb.slot] = lateness;
    }
    jb.known[jb.slot] = 1;
}

/* How far `next` should be behind `played`; what came late in one slot only is not prepared for. */
static int32_t aim(void) {
    int32_t first = INT32_MIN;
    int32_t second = INT32_MIN;
    uint32_t count = 0;
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (!jb.known[i]) {
            continue;
        }
        count++;
        if (jb.latest[i] > first) {
            second = first;
            first = jb.latest[i];
        } else if (jb.latest[i] > second) {
            second = jb.latest[i];
        }
    }
    return count == 0 ? apart(jb.played, jb.next) : (count == 1 ? first : second) + jb.margin;
}

void jitter_push(const uint8_t *bytes, uint32_t length, uint32_t law, uint32_t timestamp, uint32_t stream) {
    if (length == 0 || length > SPAN / 4 || !g711_known(law)) {
        return;
    }
    jb.counts[PACKETS] += 1.0;
    int32_t early = apart(timestamp, jb.next);
    if (!jb.started || stream != jb.stream || jb.dry > FORGET || early > SPAN / 2 || early < -SPAN) {
        restart(timestamp, stream);
    } else if (jb.dry > 0 && early > 0) {
        /* What never came was concealed in its time. */
        skip(early < jb.dry ? early : jb.dry);
        jb.dry = 0;
    }
    early = apart(timestamp, jb.next);
    jb.wait += (early - jb.wait) / 16.0;
    note_lateness(apart(jb.played, timestamp));
    note_spare(early);
    for (uint32_t i = 0; i < length; i++) {
        if (early + (int32_t)i < 0) {
            jb.counts[LATE] += 1.0;
            continue;
        }
        jb.sound[(timestamp + i) % SPAN] = g711_decode(bytes[i], law);
        jb.here[(timestamp + i) % SPAN] = 1;
    }
    if (apart(timestamp + length, jb.end) > 0) {
        jb.end = timestamp + length;
    }
}

/* Samples on end that are here. */
static int32_t run(int32_t most) {
    int32_t count = 0;
    while (count < most && jb.here[(jb.next + (uint32_t)count) % SPAN]) {
        count++;
    }
    return count;
}

/* Correlation of `lag` samples with those a lag later (what comes) or earlier (what went out); 1 for silence. */
static double likeness(int32_t lag, int shrinking) {
    double product = 0.0;
    double first = 0.0;
    double second = 0.0;
    for (int32_t i = 0; i < lag; i++) {
        const double x = ahead(i);
        const double y = shrinking ? ahead(lag + i) : past(lag - i);
        product += x * y;
        first += x * x;
        second += y * y;
    }
    if (first + second < 2.0 * QUIET * lag) {
        return 1.0;
    }
    const double both = first * second;
    return both > 0.0 ? product / __builtin_sqrt(both) : 0.0;
}

/* Take one period out, or put one in, by a cross-fade as long as the period. */
static void change(int32_t off, int shrinking) {
    const int32_t wanted = (off < 0 ? -off : off) + overshoot();
    int32_t most = run(2 * MOST_LAG);
    most = shrinking ? most / 2 : most;
    most = most < MOST_LAG ? most : MOST_LAG;
    most = most < wanted ? most : wanted;
    int32_t best = 0;
    double likest = -2.0;
    for (int32_t lag = LEAST_LAG; lag <= most; lag++) {
        const double found = likeness(lag, shrinking);
        if (found >= likest) {
            best = lag;
            likest = found;
        }
    }
    const int hurry = off > HURRY || off < -HURRY;
    if (best == 0 || (likest < ALIKE && !hurry)) {
        return;
    }
    for (int32_t i = 0; i < best; i++) {
        const double rising = (double)(i + 1) / (double)(best + 1);
        const double to = shrinking ? ahead(best + i) : past(best - i);
        jb.made[i] = ahead(i) + rising * (to - ahead(i));
    }
    jb.made_count = best;
    jb.made_at = 0;
    jb.changed = jb.played;
    if (shrinking) {
        skip(2 * best);
    }
    jb.counts[shrinking ? TAKEN : PUT] += best;
}

static void begin_concealing(void) {
    int32_t lag = LEAST_PITCH;
    double likest = -2.0;
    for (int32_t other = LEAST_PITCH; other <= MOST_LAG; other++) {
        double product = 0.0;
        double energy = 0.0;
        for (int32_t i = 1; i <= MOST_LAG; i++) {
            product += past(i) * past(i + other);
            energy += past(i + other) * past(i + other);
        }
        const double found = energy > 0.0 ? product / __builtin_sqrt(energy) : 0.0;
        if (found > likest) {
            lag = other;
            likest = found;
        }
    }
    const int32_t seam = lag / 4;
    for (int32_t i = 0; i < lag; i++) {
        double x = past(lag - i);
        if (i >= lag - seam) {
            const double rising = (double)(i - (lag - seam) + 1) / (double)(seam + 1);
            x += rising * (past(2 * lag - i) - x);
        }
        jb.period[i] = x;
    }
    jb.period_length = lag;
    jb.period_at = 0;
    jb.concealed = 0;
    jb.merged = 0;
    jb.step = past(1) - past(lag + 1);
    jb.concealing = 1;
}

static double concealment(void) {
    double x = jb.period[jb.period_at];
    jb.period_at = (jb.period_at + 1) % jb.period_length;
    if (jb.concealed < MEND) {
        x += jb.step * (double)(MEND - jb.concealed) / (double)(MEND + 1);
    }
    if (jb.concealed >= FADED) {
        return 0.0;
    }
    const double gain =
        jb.concealed < HOLD ? 1.0 : (double)(FADED - jb.concealed) / (double)(FADED - HOLD);
    jb.concealed++;
    return x * gain;
}

static void look(void) {
    const int32_t off = apart(jb.played, jb.next) - aim();
    jb.looked = jb.played;
    if (off > LEAP && apart(jb.end, jb.next) > 0) {
        const int32_t most = apart(jb.end, jb.next);
        const int32_t samples = off < most ? off : most;
        if (!jb.concealing) {
            begin_concealing();
        }
        skip(samples);
        jb.counts[GIVEN_UP] += samples;
        return;
    }
    /* Never in what is being mended. */
    if (jb.concealing || (off <= too_much() && off >= -too_little())) {
        return;
    }
    if (jb.played - jb.changed < (off > 0 ? LONG_REST : REST) && off <= HURRY && off >= -HURRY) {
        return;
    }
    change(off, off > 0);
}

static double sound_now(void) {
    if (jb.made_at == jb.made_count && jb.started && jb.played - jb.looked >= LOOK) {
        look();
    }
    if (jb.made_at < jb.made_count) {
        return jb.made[jb.made_at++];
    }
    const uint32_t at = jb.next % SPAN;
    if (jb.started && jb.here[at]) {
        const double x = jb.sound[at];
        skip(1);
        jb.dry = 0;
        if (!jb.concealing) {
            return x;
        }
        const double mended = concealment();
        jb.merged++;
        if (jb.merged >= MERGE) {
            jb.concealing = 0;
        }
        return mended + (x - mended) * (double)jb.merged / (double)(MERGE + 1);
    }
    if (!jb.started) {
        return 0.0;
    }
    if (!jb.concealing) {
        begin_concealing();
    }
    jb.merged = 0;
    jb.counts[CONCEALED] += jb.concealed < FADED ? 1.0 : 0.0;
    if (apart(jb.end, jb.next) > 0) {
        skip(1);
    } else if (jb.dry < INT32_MAX) {
        jb.dry++;
    }
    return concealment();
}

double jitter_next(void) {
    const double x = sound_now();
    jb.past[jb.past_end % PAST] = x;
    jb.past_end++;
    jb.played++;
    return x;
}

double jitter_stat(uint32_t index) {
    const double ms = 1000.0 / JITTER_RATE_HZ;
    switch (index) {
    case PACKETS:
    case RESTARTS:
        return jb.counts[index];
    case WAIT:
        return jb.wait * ms;
    case AIM:
        /* The margin above it is what packets wait where none comes later than the others. */
        return jb.started ? (aim() - apart(jb.played, jb.next)) * ms : 0.0;
    default:
        return index < JITTER_STATS ? jb.counts[index] * ms : 0.0;
    }
}
