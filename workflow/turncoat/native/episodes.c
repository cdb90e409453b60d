/* Episodes: what they are worth, and how they are laid out for a step. To the bit what PyTorch computes; every sum is
   made from the first number to the last. The structures are those of structures.py. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "layout.h"

/* Pairs of symbols drawn as (steps of all members, options and episodes, attributes) are turned to (steps, attributes,
   options and episodes), and looked up in the facts (attributes, kinds of pair). */
void describe(const uint8_t *drawn, const float *facts, uint8_t *pairs, float *values, int64_t steps, int64_t rows,
              int64_t attributes, int64_t kinds) {
    for (int64_t step = 0; step < steps; step++, drawn += rows * attributes)
        for (int64_t attribute = 0; attribute < attributes; attribute++, pairs += rows, values += rows)
            for (int64_t row = 0; row < rows; row++) {
                pairs[row] = drawn[row * attributes + attribute];
                values[row] = facts[attribute * kinds + pairs[row]];
            }
}

static inline __attribute__((always_inline)) void scale_each(float *vectors, int64_t count, int64_t size,
                                                             float shortest) {
    for (int64_t vector = 0; vector < count; vector++, vectors += size) {
        float square = 0;
        for (int64_t i = 0; i < size; i++) square += vectors[i] * vectors[i];
        const float length = sqrtf(square);
        const float scale = length < shortest ? shortest : length;
        for (int64_t i = 0; i < size; i++) vectors[i] /= scale;
    }
}

/* Vectors (count, size) scaled to length 1, unless they are shorter than `shortest`. */
void scale_to_unit(float *vectors, int64_t count, int64_t size, float shortest) {
    if (size == 4) scale_each(vectors, count, 4, shortest); /* unrolled, which takes half of the time */
    else scale_each(vectors, count, size, shortest);
}

/* Attributes (E, steps, attributes, options, episodes) under objectives (E, steps, episodes, attributes), which lie as
   their strides say: (steps, E, options, episodes). */
typedef struct {
    int64_t members, steps, attributes, options, episodes;
    const float *values, *objectives;
    int64_t strides[4];
    float *utilities;
} Utilities;

void value_options(const Utilities *u) {
    const int64_t episodes = u->episodes, rows = u->options * episodes, *strides = u->strides;
    const float *values = u->values;
    for (int64_t e = 0; e < u->members; e++)
        for (int64_t step = 0; step < u->steps; step++, values += u->attributes * rows) {
            const float *objective = u->objectives + e * strides[0] + step * strides[1];
            float *utilities = u->utilities + (step * u->members + e) * rows;
            for (int64_t option = 0; option < u->options; option++, utilities += episodes)
                for (int64_t attribute = 0; attribute < u->attributes; attribute++) {
                    const float *own = values + attribute * rows + option * episodes;
                    const float *by = objective + attribute * strides[3];
                    for (int64_t b = 0; b < episodes; b++)
                        utilities[b] = (attribute ? utilities[b] : 0) + own[b] * by[b * strides[2]];
                }
        }
}

enum { TOGETHER = 64 };

/* Bytes are compared with bytes, 64 at a time: a processor does that in one instruction or two. */
static void show_symbols(const Layout *l, const uint8_t *pairs, float *out) {
    const uint8_t symbols = l->symbols;
    const int64_t stride = l->out_strides[1];
    for (int64_t start = 0; start < l->episodes; start += TOGETHER) {
        const int64_t count = l->episodes - start < TOGETHER ? l->episodes - start : TOGETHER;
        uint8_t pair[TOGETHER] = {0}, first[TOGETHER] = {0}, second[TOGETHER];
        float is[TOGETHER];
        memcpy(pair, pairs + start, count);
        for (uint8_t symbol = 1; symbol < symbols; symbol++) {
            const uint8_t least = symbol * symbols;
            for (int b = 0; b < TOGETHER; b++) first[b] += pair[b] >= least;
        }
        for (int b = 0; b < TOGETHER; b++) second[b] = pair[b] - (uint8_t)(first[b] * symbols);
        for (uint8_t place = 0; place < 2; place++)
            for (uint8_t symbol = 0; symbol < symbols; symbol++) {
                float *row = out + (place * symbols + symbol) * stride + start;
                const uint8_t *shown = place ? second : first;
                for (int b = 0; b < TOGETHER; b++) is[b] = shown[b] == symbol;
                if (count == TOGETHER) memcpy(row, is, sizeof is);
                else memcpy(row, is, count * sizeof(float));
            }
    }
}

void lay_out_one(const Layout *l, int64_t e) {
    float *out = l->out + e * l->out_strides[0];
    const uint8_t *pairs = l->pairs + e * l->pair_strides[0];
    for (int64_t attribute = 0; attribute < l->attributes; attribute++, out += 2 * l->symbols * l->out_strides[1])
        for (int64_t option = 0; option < l->options; option++)
            show_symbols(l, pairs + attribute * l->pair_strides[1] + option * l->pair_strides[2],
                         out + option * l->out_strides[2]);
    for (const Part *part = l->shown; part < l->shown + l->parts; part++)
        for (int64_t number = 0; number < part->count; number++, out += l->out_strides[1])
            for (int64_t option = 0; option < l->options; option++) {
                const float *numbers =
                    part->numbers + e * part->strides[0] + option * part->strides[1] + number * part->strides[3];
                float *row = out + option * l->out_strides[2];
                if (option && !part->strides[1]) memcpy(row, row - l->out_strides[2], l->episodes * sizeof(float));
                else
                    for (int64_t b = 0; b < l->episodes; b++) row[b] = numbers[b * part->strides[2]];
            }
}

void lay_out(const Layout *l) {
    for (int64_t e = 0; e < l->members; e++) lay_out_one(l, e);
}

const int64_t size_of_Utilities = sizeof(Utilities), size_of_Part = sizeof(Part), size_of_Layout = sizeof(Layout);
