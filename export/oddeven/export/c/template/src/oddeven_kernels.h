/* The operators of an int8 network, computed as TFLite's quantization specification says, in integers alone.
 *
 * Tensors are NHWC without the batch. real = scale * (q - zero_point), weights have zero point 0. Needs C99 or C++11 and
 * an arithmetic right shift of negative numbers, which every known compiler has. The byte order does not matter.
 */
#ifndef ODDEVEN_KERNELS_H
#define ODDEVEN_KERNELS_H

#include <stdint.h>
#if defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#endif
#if defined(__GNUC__)
#define ODDEVEN_KERNEL __attribute__((noinline, unused)) static /* inlined twice, the sums spill from the registers */
#else
#define ODDEVEN_KERNEL static
#endif

struct oddeven_table {
    int count;
    const int8_t *values; /* the output for each input byte */
};

/* A window that slides over an image. A sum takes `group` channels of each pixel: all of them, or 1 if depthwise. */
struct oddeven_window {
    int height, width, channels, out_height, out_width, out_channels;
    int kernel_height, kernel_width, stride_y, stride_x, top, left; /* the last two are the padding */
    int zero_point, out_zero_point, low, high, group;               /* low and high: what the activation leaves */
    const int8_t *weights;                                          /* [out_channels][kernel_height][kernel_width][group] */
    const int32_t *bias, *multiplier;
    const int8_t *shift;
};

/* How two tensors are added: their zero points, and the factors of each and of the sum. */
struct oddeven_addition {
    int count, zero_point[2], out_zero_point, low, high;
    int32_t multiplier[3];
    int8_t shift[3];
};

/* value * multiplier * 2^(shift - 31), rounded: twice, as TFLite's reference kernels and tflite-micro do, or once, to
 * nearest, as LiteRT with XNNPACK does. */
ODDEVEN_KERNEL int32_t oddeven_scaled(int32_t value, int32_t multiplier, int shift)
{
#if defined(ODDEVEN_SINGLE_ROUNDING)
    const int right = 31 - shift;
    return (int32_t)(((int64_t)value * multiplier + ((int64_t)1 << (right - 1))) >> right);
#else
    const int left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
    const int64_t product = (int64_t)value * ((int64_t)1 << left) * multiplier, half = (int64_t)1 << 30;
    const int32_t high = (int32_t)((product + (product < 0 ? 1 - half : half)) / ((int64_t)1 << 31));
    const int32_t mask = (int32_t)(((uint32_t)1 << right) - 1), rest = high & mask;
    return (high >> right) + (rest > (mask >> 1) + (high < 0));
#endif
}

ODDEVEN_KERNEL int8_t oddeven_clamped(int32_t value, int low, int high)
{
    return (int8_t)(value < low ? low : value > high ? high : value);
}

ODDEVEN_KERNEL void oddeven_lookup(const struct oddeven_table *n, const int8_t *x, int8_t *out)
{
    for (int i = 0; i < n->count; i++)
        out[i] = n->values[(uint8_t)x[i]];
}

ODDEVEN_KERNEL int32_t oddeven_dot(const int8_t *x, int step, const int8_t *w, int count, int zero_point, int32_t sum)
{
#if defined(__ARM_FEATURE_SIMD32)
    for (; step == 1 && zero_point == 0 && count >= 4; count -= 4, x += 4, w += 4) {
        uint32_t x4, w4;
        __builtin_memcpy(&x4, x, 4);
        __builtin_memcpy(&w4, w, 4);
        sum = __smlad(__sxtb16((int8x4_t)x4), __sxtb16((int8x4_t)w4), sum);
        sum = __smlad(__sxtb16((int8x4_t)(x4 >> 8 | x4 << 24)), __sxtb16((int8x4_t)(w4 >> 8 | w4 << 24)), sum);
    }
#endif
    for (; count > 0; count--, x += step)
        sum += (*x - zero_point) * *w++;
    return sum;
}

/* Every weighted sum: dense or depthwise convolution, fully connected layer (of one pixel), mean (of weights 1). Without
 * weights, the greatest value in the window. */
ODDEVEN_KERNEL void oddeven_slide(const struct oddeven_window *n, const int8_t *x, int8_t *out)
{
    const int dense = n->group == n->channels, filter = n->kernel_height * n->kernel_width * n->group;
    for (int top = -n->top; top < n->out_height * n->stride_y - n->top; top += n->stride_y)
        for (int left = -n->left; left < n->out_width * n->stride_x - n->left; left += n->stride_x)
            for (int channel = 0; channel < n->out_channels; channel++) {
                const int first = left < 0 ? -left : 0, rest = n->width - left;
                const int count = (rest < n->kernel_width ? rest : n->kernel_width) - first;
                int32_t value = n->weights ? n->bias[channel] : n->low;
                for (int ky = top < 0 ? -top : 0; ky < n->kernel_height && top + ky < n->height; ky++) {
                    const int own = dense ? 0 : channel * n->channels / n->out_channels;
                    const int8_t *row = x + ((top + ky) * n->width + left + first) * n->channels + own;
                    const int at = channel * filter + (ky * n->kernel_width + first) * n->group;
                    if (n->weights)
                        value = oddeven_dot(row, dense ? 1 : n->channels, n->weights + at, count * n->group,
                                            n->zero_point, value);
                    for (int kx = 0; !n->weights && kx < count; kx++)
                        value = row[kx * n->channels] > value ? row[kx * n->channels] : value;
                }
                if (n->weights)
                    value = oddeven_scaled(value, n->multiplier[channel], n->shift[channel]) + n->out_zero_point;
                *out++ = oddeven_clamped(value, n->low, n->high);
            }
}

ODDEVEN_KERNEL void oddeven_add(const struct oddeven_addition *n, const int8_t *a, const int8_t *b, int8_t *out)
{
    for (int i = 0; i < n->count; i++) {
        const int32_t one = oddeven_scaled((a[i] - n->zero_point[0]) * (1 << 20), n->multiplier[0], n->shift[0]);
        const int32_t other = oddeven_scaled((b[i] - n->zero_point[1]) * (1 << 20), n->multiplier[1], n->shift[1]);
        const int32_t sum = oddeven_scaled(one + other, n->multiplier[2], n->shift[2]) + n->out_zero_point;
        out[i] = oddeven_clamped(sum, n->low, n->high);
    }
}

/* Another size by the mean of the pixels that fall into each new one: uint8 (height, width, channels) in and out. */
ODDEVEN_KERNEL void oddeven_resize(const uint8_t *x, int height, int width, uint8_t *out, int out_height, int out_width,
                                   int channels)
{
    for (int i = 0; i < out_height * out_width * channels; i++) {
        const int row = i / channels / out_width, column = i / channels % out_width;
        const int top = row * height / out_height, bottom = ((row + 1) * height - 1) / out_height + 1;
        const int left = column * width / out_width, right = ((column + 1) * width - 1) / out_width + 1;
        const int32_t count = (int32_t)(bottom - top) * (right - left);
        int32_t sum = count / 2;
        for (int y = top; y < bottom; y++)
            for (int from = left; from < right; from++)
                sum += x[(y * width + from) * channels + i % channels];
        out[i] = (uint8_t)(sum / count);
    }
}

#endif
