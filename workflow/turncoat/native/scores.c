/* Scores of one rectifier network on options shown in several contexts: what PyTorch's kernels compute, to the bit, some
   episodes at a time, so that their hidden states stay in a core's cache. */

#include "borrowed.h"

typedef struct {
    int64_t options, available, block; /* N; B' episodes that there are; how many are scored at once */
    int64_t inputs, numbers;           /* of an option, F; of a context, C */
    int64_t depth, contexts, columns;  /* columns: rows of the readout, of which the first gives scores */
    const int64_t *widths;             /* of each hidden layer */
    const int64_t *lengths;            /* B of each context, at most B' */
    const float *shown;                /* (N, B', F) */
    const float *const *context;       /* (B, C) each */
    float *const *scores;              /* (N, B) each, what is computed */
    const float *of_options, *of_context; /* (F, H) and (C, H), the first layer's weights */
    const float *const *weights;       /* of the layers above it */
    const float *const *biases;        /* of all hidden layers */
    const float *readout;              /* (columns, H) */
    float offset;                      /* of the first row */
    float *shared, *added;             /* (N, block, H) and (block, H) of the first layer */
    float *values, *others;            /* (N, block, H) of the widest layer */
    float *found;                      /* (columns, N, block) */
    Products *products;
} Scoring;

const int64_t size_of_Scoring = sizeof(Scoring);

static void product(const Scoring *s, int turn_b, int m, int n, int k, const float *a, const float *b, float *c) {
    const float one = 1, nothing = 0;
    const int single = 1, plain = AS_IT_IS, row_b = turn_b == TURNED ? k : n;
    s->products(ROW_MAJOR, &plain, &turn_b, &m, &n, &k, &one, &a, &k, &b, &row_b, &nothing, &c, &n, 1, &single);
}

static float rectified(float z) { return z < 0 ? 0 : z; }

/* Hidden states of the first layer, (N, rows, H), of which a context adds (rows, H) to what options do, (N, most, H). */
static void enter(const Scoring *s, int64_t rows, int64_t most) {
    const int64_t width = s->widths[0];
    const float *restrict bias = s->biases[0];
    for (int64_t option = 0; option < s->options; option++)
        for (int64_t row = 0; row < rows; row++) {
            const float *restrict shared = s->shared + (option * most + row) * width;
            const float *restrict added = s->added + row * width;
            float *restrict values = s->values + (option * rows + row) * width;
            for (int64_t unit = 0; unit < width; unit++) values[unit] = rectified(shared[unit] + bias[unit] + added[unit]);
        }
}

static void add_and_rectify(float *restrict hidden, const float *restrict bias, int64_t rows, int64_t width) {
    for (int64_t row = 0; row < rows; row++, hidden += width)
        for (int64_t unit = 0; unit < width; unit++) hidden[unit] = rectified(hidden[unit] + bias[unit]);
}

/* From the first layer's hidden states to the output, (columns, N * rows). */
static void go_on(const Scoring *s, int64_t rows) {
    float *values = s->values, *others = s->others;
    for (int64_t layer = 1; layer < s->depth; layer++) {
        product(s, AS_IT_IS, rows, s->widths[layer], s->widths[layer - 1], values, s->weights[layer - 1], others);
        add_and_rectify(others, s->biases[layer], rows, s->widths[layer]);
        float *before = values;
        values = others, others = before;
    }
    product(s, TURNED, s->columns, rows, s->widths[s->depth - 1], s->readout, values, s->found);
}

void score_options(const Scoring *s) {
    int64_t longest = 0;
    for (int64_t c = 0; c < s->contexts; c++) longest = s->lengths[c] > longest ? s->lengths[c] : longest;
    for (int64_t start = 0; start < longest; start += s->block) {
        const int64_t most = longest - start < s->block ? longest - start : s->block;
        for (int64_t option = 0; option < s->options; option++)
            product(s, AS_IT_IS, most, s->widths[0], s->inputs, s->shown + (option * s->available + start) * s->inputs,
                    s->of_options, s->shared + option * most * s->widths[0]);
        for (int64_t c = 0; c < s->contexts; c++) {
            const int64_t left = s->lengths[c] - start, rows = left < most ? left : most;
            if (rows <= 0) continue;
            product(s, AS_IT_IS, rows, s->widths[0], s->numbers, s->context[c] + start * s->numbers, s->of_context,
                    s->added);
            enter(s, rows, most);
            go_on(s, s->options * rows);
            for (int64_t option = 0; option < s->options; option++)
                for (int64_t row = 0; row < rows; row++)
                    s->scores[c][option * s->lengths[c] + start + row] = s->found[option * rows + row] + s->offset;
        }
    }
}
