/* A training step: what PyTorch's kernels compute, to the bit, one member after the other, so that a member's numbers
   stay in a core's cache from one operation to the next. Every addition is made in the order in which PyTorch makes it;
   products, exponentials and logarithms are made by the functions that PyTorch calls. The structures are those of
   structures.py. LANES is how many numbers PyTorch's softmax takes at once. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "borrowed.h"
#include "layout.h"

/* Sleef's vector functions */
typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef Lanes OfLanes(Lanes);

/* A stack of E members: parameters and parts of the gradient by layer, (E, ...) each, the readout last. */
typedef struct {
    int64_t members, rows, inputs, width, depth, columns, outputs;
    int64_t inputs_turned; /* whether inputs lie as (E, inputs, rows), not as (E, rows, inputs) */
    const float *x;
    int64_t x_stride, hidden_stride; /* from member to member: 0 where all use the same place in turn */
    float *const *weights, *const *biases, *const *weight_parts, *const *bias_parts;
    float *const *hidden;         /* (E or 1, rows, width) a layer */
    float *output;                /* (E, columns, rows) */
    float *output_gradient;       /* (E, columns, rows) */
    float *delta, *other;         /* (rows, width) */
    Products *products;
} Step;

static void product(const Step *step, int turn_a, int turn_b, int m, int n, int k, const float *a, int row_a,
                    const float *b, int row_b, float keep, float *c) {
    const float one = 1;
    const int single = 1;
    step->products(ROW_MAJOR, &turn_a, &turn_b, &m, &n, &k, &one, &a, &row_a, &b, &row_b, &keep, &c, &n, 1, &single);
}

static void add_and_rectify(float *restrict hidden, const float *restrict bias, int64_t rows, int64_t width) {
    for (int64_t row = 0; row < rows; row++, hidden += width)
        for (int64_t unit = 0; unit < width; unit++) {
            float z = hidden[unit] + bias[unit];
            hidden[unit] = z < 0 ? 0 : z;
        }
}

typedef float Eight __attribute__((vector_size(32)));
typedef int32_t Masks __attribute__((vector_size(32)));

/* Sum up to 64 columns over rows as PyTorch's cascade does (ATen's SumKernel.cpp): runs of rows, then sums of runs, four
   levels in all. Where `hidden` is given, numbers whose unit is idle are set to zero first. Inlined for each number of
   vectors, whose sums then stay in registers; the last vector's `last` numbers count. */
enum { LEVELS = 4, MOST_VECTORS = 8 };

static inline __attribute__((always_inline)) void cascade(float *numbers, const float *hidden, int64_t rows,
                                                          int64_t stride, int vectors, int last, Eight *sums) {
    int power = 0;
    while (((int64_t)1 << power) < rows) power++;
    power = power / LEVELS > 4 ? power / LEVELS : 4;
    const int64_t run = (int64_t)1 << power;
    Eight sum[LEVELS][MOST_VECTORS] = {0};
    for (int64_t row = 0; row < rows;) {
        const int64_t stop = row + run;
        Eight own[MOST_VECTORS] = {0};
        for (; row < stop && row < rows; row++, numbers += stride) {
            for (int v = 0; v < vectors; v++) {
                const size_t size = (v == vectors - 1 ? last : 8) * sizeof(float);
                Eight number = {0}, unit = {0};
                memcpy(&number, numbers + 8 * v, size);
                if (hidden) {
                    memcpy(&unit, hidden + 8 * v, size);
                    number = (Eight)((Masks)number & ~(unit <= 0));
                    memcpy(numbers + 8 * v, &number, size);
                }
                own[v] += number;
            }
            if (hidden) hidden += stride;
        }
        for (int v = 0; v < vectors; v++) sum[0][v] = own[v];
        if (row < stop) break;
        for (int level = 1; level < LEVELS; level++) {
            for (int v = 0; v < vectors; v++) {
                sum[level][v] += sum[level - 1][v];
                sum[level - 1][v] = (Eight){0};
            }
            if (row & ((run - 1) << (level * power))) break;
        }
    }
    for (int v = 0; v < vectors; v++) sums[v] = sum[0][v] + sum[1][v] + sum[2][v] + sum[3][v];
}

/* Columns beyond a multiple of 32, up to eight: PyTorch first sums every fourth row by itself. */
static inline __attribute__((always_inline)) void pull_and_sum_rest(float *delta, const float *hidden, float *sums,
                                                                    int64_t rows, int64_t width, int columns) {
    Eight parts[4];
    const int64_t rounds = rows / 4;
    for (int64_t k = 0; k < 4; k++)
        cascade(delta + k * width, hidden + k * width, rounds, 4 * width, 1, columns, parts + k);
    for (int64_t row = rounds * 4; row < rows; row++)
        for (int i = 0; i < columns; i++) {
            float *number = delta + row * width + i;
            if (hidden[row * width + i] <= 0) *number = 0;
            parts[0][i] += *number;
        }
    parts[0] = parts[0] + parts[1] + parts[2] + parts[3];
    memcpy(sums, parts, columns * sizeof(float));
}

static void pull_and_sum(float *delta, const float *hidden, float *sums, int64_t rows, int64_t width) {
    int64_t unit = 0;
    Eight found[MOST_VECTORS];
    for (; unit + 64 <= width; unit += 64) {
        cascade(delta + unit, hidden + unit, rows, width, 8, 8, found);
        memcpy(sums + unit, found, 64 * sizeof(float));
    }
    for (; unit + 32 <= width; unit += 32) {
        cascade(delta + unit, hidden + unit, rows, width, 4, 8, found);
        memcpy(sums + unit, found, 32 * sizeof(float));
    }
    for (; unit + 8 <= width; unit += 8) pull_and_sum_rest(delta + unit, hidden + unit, sums + unit, rows, width, 8);
    if (unit < width) pull_and_sum_rest(delta + unit, hidden + unit, sums + unit, rows, width, width - unit);
}

/* The sum of numbers that lie side by side: PyTorch takes four vectors of eight at once. */
static float sum_of(float *numbers, int64_t count) {
    const int64_t vectors = count / 8, rounds = vectors / 4;
    Eight sums[4], more;
    cascade(numbers, NULL, rounds, 32, 4, 8, sums);
    for (int64_t v = rounds * 4; v < vectors; v++) {
        memcpy(&more, numbers + 8 * v, sizeof more);
        sums[0] += more;
    }
    sums[0] = sums[0] + sums[1] + sums[2] + sums[3];
    float total = 0;
    for (int64_t i = vectors * 8; i < count; i++) total += numbers[i];
    for (int i = 0; i < 8; i++) total += sums[0][i];
    return total;
}

static void forward_one(const Step *s, int64_t e) {
    const int64_t rows = s->rows, width = s->width, last = s->depth, place = e * s->hidden_stride;
    const float *x = s->x + e * s->x_stride;
    int turned = s->inputs_turned ? TURNED : AS_IT_IS;
    int64_t inputs = s->inputs, row_x = s->inputs_turned ? rows : inputs;
    for (int64_t layer = 0; layer < s->depth; layer++) {
        float *hidden = s->hidden[layer] + place;
        product(s, turned, AS_IT_IS, rows, width, inputs, x, row_x, s->weights[layer] + e * inputs * width, width, 0,
                hidden);
        add_and_rectify(hidden, s->biases[layer] + e * width, rows, width);
        x = hidden, turned = AS_IT_IS, inputs = width, row_x = width;
    }
    float *output = s->output + e * s->columns * rows;
    for (int64_t column = 0; column < s->columns; column++)
        for (int64_t row = 0; row < rows; row++)
            output[column * rows + row] = s->biases[last][e * s->outputs + column];
    product(s, AS_IT_IS, TURNED, s->columns, rows, width, s->weights[last] + e * s->outputs * width, width, x, width, 1,
            output);
}

/* Readout columns that are not read get zero. */
static void backward_one(const Step *s, int64_t e) {
    const int64_t rows = s->rows, width = s->width, columns = s->columns, last = s->depth;
    const int64_t place = e * s->hidden_stride, idle = s->outputs - columns;
    float *arriving = s->output_gradient + e * columns * rows, *delta = s->delta, *other = s->other;
    float *read = s->weight_parts[last] + e * s->outputs * width, *bias = s->bias_parts[last] + e * s->outputs;
    memset(read + columns * width, 0, idle * width * sizeof(float));
    memset(bias + columns, 0, idle * sizeof(float));
    for (int64_t column = 0; column < columns; column++) bias[column] = sum_of(arriving + column * rows, rows);
    product(s, AS_IT_IS, AS_IT_IS, columns, width, rows, arriving, rows, s->hidden[last - 1] + place, width, 0, read);
    product(s, TURNED, AS_IT_IS, rows, width, columns, arriving, rows, s->weights[last] + e * s->outputs * width, width,
            0, delta);
    for (int64_t layer = last - 1; layer > 0; layer--) {
        pull_and_sum(delta, s->hidden[layer] + place, s->bias_parts[layer] + e * width, rows, width);
        product(s, TURNED, AS_IT_IS, width, width, rows, s->hidden[layer - 1] + place, width, delta, width, 0,
                s->weight_parts[layer] + e * width * width);
        product(s, AS_IT_IS, TURNED, rows, width, width, delta, width, s->weights[layer] + e * width * width, width, 0,
                other);
        float *done = delta;
        delta = other, other = done;
    }
    pull_and_sum(delta, s->hidden[0] + place, s->bias_parts[0] + e * width, rows, width);
    product(s, s->inputs_turned ? AS_IT_IS : TURNED, AS_IT_IS, s->inputs, width, rows, s->x + e * s->x_stride,
            s->inputs_turned ? rows : s->inputs, delta, width, 0, s->weight_parts[0] + e * s->inputs * width);
}

void forward(const Step *s) {
    for (int64_t e = 0; e < s->members; e++) forward_one(s, e);
}

/* From the last member to the first, because the last ones' hidden layers are in the cache still. */
void backward(const Step *s) {
    for (int64_t e = s->members - 1; e >= 0; e--) backward_one(s, e);
}

/* A loss of choices, and of the world head. Tensors of a batch lie as they lie: strides are in numbers. */
typedef struct {
    int64_t options, episodes, chosen;
    float *share, *log_share; /* (options, chosen): the softmax of scores, and its logarithm */
    const int64_t *targets;   /* (E, chosen), or none where choices are rewarded */
    int64_t target_strides[2];
    const float *rewards; /* (E, options, chosen) */
    int64_t reward_strides[3];
    float entropy_bonus;
    int64_t world_column, attributes; /* 0 attributes where the world head has no weight */
    const float *values;              /* (E, options, episodes, attributes) */
    int64_t value_strides[4];
    float world_scale;
    float *gradient; /* (E, columns, options * episodes) */
    OfLanes *exponential, *logarithm;
    Exponentials *exponentials;
} Loss;

/* As PyTorch's softmax of scores (options, episodes): whole vectors by one function, what is left over by another. */
static void soften(const Loss *l, const float *scores) {
    for (int64_t start = 0; start < l->chosen; start += LANES) {
        const int64_t count = l->chosen - start < LANES ? l->chosen - start : LANES;
        Lanes most = {0}, sum = {0}, score = {0};
        for (int64_t option = 0; option < l->options; option++) {
            memcpy(&score, scores + option * l->episodes + start, count * sizeof(float));
            for (int i = 0; i < LANES; i++) most[i] = option && most[i] >= score[i] ? most[i] : score[i];
        }
        for (int64_t option = 0; option < l->options; option++) {
            memcpy(&score, scores + option * l->episodes + start, count * sizeof(float));
            score -= most;
            if (count == LANES) sum += l->exponential(score);
            else
                for (int i = 0; i < count; i++) sum[i] += expf(score[i]);
        }
        const Lanes log_sum = l->logarithm(sum);
        for (int64_t option = 0; option < l->options; option++) {
            memcpy(&score, scores + option * l->episodes + start, count * sizeof(float));
            score = score - most - log_sum;
            memcpy(l->log_share + option * l->chosen + start, &score, count * sizeof(float));
        }
    }
    l->exponentials(l->options * l->chosen, l->log_share, l->share, MOST_ACCURATE | DENORMALS_AS_SET | NO_ERRORS);
}

static void push_to_targets(const Loss *l, int64_t e, float *gradient) {
    const int64_t *targets = l->targets + e * l->target_strides[0];
    for (int64_t option = 0; option < l->options; option++)
        for (int64_t b = 0; b < l->chosen; b++) {
            float pushed = l->share[option * l->chosen + b];
            if (targets[b * l->target_strides[1]] == option) pushed += -1.0f;
            gradient[option * l->episodes + b] = pushed / (float)l->chosen;
        }
}

static void push_to_rewards(const Loss *l, int64_t e, float *gradient) {
    for (int64_t b = 0; b < l->chosen; b++) {
        const float *rewards = l->rewards + e * l->reward_strides[0] + b * l->reward_strides[2];
        float expected = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t option = 0; option < l->options; option++) {
                const float share = l->share[option * l->chosen + b];
                const float value = rewards[option * l->reward_strides[1]] -
                                    l->entropy_bonus * l->log_share[option * l->chosen + b];
                if (pass == 0) expected += share * value;
                else gradient[option * l->episodes + b] = share * (expected - value) / (float)l->chosen;
            }
    }
}

static void push_to_attributes(const Loss *l, int64_t e, const float *output, float *gradient) {
    for (int64_t attribute = 0; attribute < l->attributes; attribute++)
        for (int64_t option = 0; option < l->options; option++) {
            const int64_t at = attribute * l->options * l->episodes + option * l->episodes;
            const float *values = l->values + e * l->value_strides[0] + option * l->value_strides[1] +
                                  attribute * l->value_strides[3];
            for (int64_t b = 0; b < l->episodes; b++)
                gradient[at + b] = (output[at + b] - values[b * l->value_strides[2]]) * l->world_scale;
        }
}

/* Adam (Kingma and Ba 2015) as PyTorch's fused kernel rounds it: running means of the gradient and its square, by layer
   as the weights. */
typedef struct {
    float *const *weight_means, *const *bias_means, *const *weight_squares, *const *bias_squares;
    float beta1_rest, beta2, beta2_rest, square_correction, epsilon, step_size;
} Adam;

static void move(const Adam *a, float *restrict weights, const float *restrict gradient, float *restrict means,
                 float *restrict squares, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const float g = gradient[i];
        means[i] = fmaf(a->beta1_rest, g - means[i], means[i]);
        squares[i] = fmaf(a->beta2_rest * g, g, squares[i] * a->beta2);
        weights[i] = weights[i] + -a->step_size * means[i] / (sqrtf(squares[i]) / a->square_correction + a->epsilon);
    }
}

static void move_one(const Step *s, const Adam *a, int64_t e) {
    for (int64_t layer = 0; layer <= s->depth; layer++) {
        const int64_t units = layer < s->depth ? s->width : s->outputs;
        const int64_t count = units * (layer ? s->width : s->inputs), at = e * count, bias_at = e * units;
        move(a, s->weights[layer] + at, s->weight_parts[layer] + at, a->weight_means[layer] + at,
             a->weight_squares[layer] + at, count);
        move(a, s->biases[layer] + bias_at, s->bias_parts[layer] + bias_at, a->bias_means[layer] + bias_at,
             a->bias_squares[layer] + bias_at, units);
    }
}

/* Both passes of each member, with the loss between them. Inputs are laid out as `layouts` say, one after the other, or
   are there if there are none; weights are moved where there is an optimizer. */
void learn(const Step *s, const Loss *l, const Layout *layouts, int64_t count, const Adam *adam) {
    for (int64_t e = 0; e < s->members; e++) {
        for (int64_t part = 0; part < count; part++) lay_out_one(layouts + part, e);
        forward_one(s, e);
        const float *output = s->output + e * s->columns * s->rows;
        float *gradient = l->gradient + e * s->columns * s->rows;
        soften(l, output);
        if (l->targets) push_to_targets(l, e, gradient);
        else push_to_rewards(l, e, gradient);
        const int64_t told = l->world_column * s->rows;
        push_to_attributes(l, e, output + told, gradient + told);
        backward_one(s, e);
        if (adam) move_one(s, adam, e);
    }
}

const int64_t size_of_Step = sizeof(Step), size_of_Loss = sizeof(Loss), size_of_Adam = sizeof(Adam);
