#include "math.h"

#include <stdint.h>

static const double PI = 3.14159265358979323846;
static const double LN_2 = 0.69314718055994530942;

double sine_of_turns(double turns) {
    double t = turns - __builtin_floor(turns);
    /* Fold onto a quarter turn each side of zero, where the series converges fast. */
    if (t > 0.75) {
        t -= 1.0;
    } else if (t > 0.25) {
        t = 0.5 - t;
    }
    const double x = 2.0 * PI * t;
    const double s = x * x;
    /* Taylor to x^15: at x = pi/2 the next term is 6e-12. */
    return x *
           (1.0 +
            s * (-1.0 / 6.0 +
                 s * (1.0 / 120.0 +
                      s * (-1.0 / 5040.0 +
                           s * (1.0 / 362880.0 +
                                s * (-1.0 / 39916800.0 +
                                     s * (1.0 / 6227020800.0 + s * (-1.0 / 1307674368000.0))))))));
}

double amplitude_of_db(double db) {
    if (!(db > -200.0)) {
        db = -200.0;
    } else if (db > 40.0) {
        db = 40.0;
    }
    /* 10^(db/20) = 2^e; the whole part by the exponent's bits, the fraction by the series of e^y, |y| <= ln(2)/2. */
    const double e = db * 0.16609640474436811739;
    const double whole = __builtin_floor(e + 0.5);
    const double y = (e - whole) * LN_2;
    const double fraction =
        1.0 +
        y * (1.0 +
             y * (1.0 / 2.0 +
                  y * (1.0 / 6.0 +
                       y * (1.0 / 24.0 +
                            y * (1.0 / 120.0 + y * (1.0 / 720.0 + y * (1.0 / 5040.0 + y * (1.0 / 40320.0))))))));
    union {
        uint64_t bits;
        double value;
    } scale = {.bits = (uint64_t)((int64_t)whole + 1023) << 52};
    return fraction * scale.value;
}

double db_of_power(double power) {
    if (!(power > 1e-20)) {
        return -200.0;
    }
    union {
        uint64_t bits;
        double value;
    } split = {.value = power};
    int64_t exponent = (int64_t)((split.bits >> 52) & 0x7ff) - 1023;
    split.bits = (split.bits & 0x000fffffffffffffULL) | 0x3ff0000000000000ULL;
    if (split.value > 1.41421356237309504880) {
        split.value *= 0.5;
        exponent += 1;
    }
    /* ln(m) = 2*atanh((m-1)/(m+1)); the argument stays within 0.172, where ten terms reach 1e-17. */
    const double z = (split.value - 1.0) / (split.value + 1.0);
    const double zz = z * z;
    double sum = 0.0;
    for (int k = 19; k >= 1; k -= 2) {
        sum = sum * zz + 1.0 / (double)k;
    }
    const double ln = 2.0 * z * sum + (double)exponent * LN_2;
    const double db = ln * 4.34294481903251827651;
    return db > -200.0 ? db : -200.0;
}
