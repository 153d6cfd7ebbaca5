/* The little of libm that the module needs. Errors are stated; the tests hold them. */
#ifndef PONTE_MEDIA_MATH_H
#define PONTE_MEDIA_MATH_H

/* Sine of a phase in turns, any finite value. Error below 1e-9. */
double sine_of_turns(double turns);

/* 10^(db/20), -200 to 40 dB; outside it is clamped. Relative error below 1e-9. */
double amplitude_of_db(double db);

/* 10*log10(power), never below -200. Error below 1e-6 dB. */
double db_of_power(double power);

#endif
