/* $name. Made by oddeven $version; do not edit. */
#include "oddeven_${name}.h"
#include "oddeven_kernels.h"

$constants

const char *const oddeven_${name}_labels[2] = {"$label_0", "$label_1"};

static int8_t arena[$arena_bytes];

uint8_t oddeven_${name}_probability(const uint8_t *pixels)
{
    const int8_t *input = (const int8_t *)pixels;
$calls
    return (uint8_t)arena[$result];
}

uint8_t oddeven_${name}_raw_familiarity(void)
{
    return $familiarity;
}

int oddeven_${name}_predict(const uint8_t *pixels)
{
    return oddeven_${name}_probability(pixels) > ODDEVEN_${NAME}_THRESHOLD;
}

void oddeven_${name}_squash(const uint8_t *image, int height, int width, uint8_t *pixels)
{
    oddeven_resize(image, height, width, pixels, $height, $width, $channels);
}
