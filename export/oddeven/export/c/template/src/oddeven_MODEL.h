/* $name: whether an image is "$label_0" or "$label_1". Made by oddeven $version; do not edit.
 *
 * Flash: $flash_bytes bytes of constants and about 2 kB of code. RAM: $arena_bytes bytes, static.
 * The preprocessing "$preprocessing" (polarity: $polarity) is not in here; see README.md.
 */
#ifndef ODDEVEN_${NAME}_H
#define ODDEVEN_${NAME}_H

#include <stdint.h>

#define ODDEVEN_${NAME}_HEIGHT $height
#define ODDEVEN_${NAME}_WIDTH $width
#define ODDEVEN_${NAME}_CHANNELS $channels
#define ODDEVEN_${NAME}_PIXELS ($height * $width * $channels)
#define ODDEVEN_${NAME}_THRESHOLD $threshold /* above it, the prediction is label 1 */
#define ODDEVEN_${NAME}_MIN_FAMILIARITY $min_familiarity /* below it, the image is unknown */

#ifdef __cplusplus
extern "C" {
#endif

/* The names of labels 0 and 1. */
extern const char *const oddeven_${name}_labels[2];

/* The probability of label 1 in steps of 1/256, for `pixels`: rows from the top, $channels byte(s) a pixel.
 * Not reentrant: one call at a time. */
uint8_t oddeven_${name}_probability(const uint8_t *pixels);

/* How familiar the image of the last call is: a raw score, which says only what is more familiar and what is less. 255
 * where the model does not tell. */
uint8_t oddeven_${name}_raw_familiarity(void);

/* The predicted label, 0 or 1, also of an unknown image. */
int oddeven_${name}_predict(const uint8_t *pixels);

/* Fill `pixels` from an image of another size with as many channels; the aspect ratio is not kept. */
void oddeven_${name}_squash(const uint8_t *image, int height, int width, uint8_t *pixels);

#ifdef __cplusplus
}
#endif

#endif
