/* Sums that a fit of choices between two options needs: what PyTorch's kernels compute, to the bit, one model after the
   other, so that a model's numbers stay in a core's cache. */

#include "borrowed.h"

typedef struct {
    int64_t models, features, episodes;
    const double *differences;     /* (E, K, B) */
    const double *weights, *chosen; /* (E, B) */
    const double *coefficients;    /* (E, K) */
    double *rows;                  /* (K + 2, B), room for one model */
    double *sums;                  /* (E, K, K + 1), what is computed: information, and the gradient beside it */
    DoubleProducts *products;
    DoubleExponentials *exponentials;
} Logit;

const int64_t size_of_Logit = sizeof(Logit);

static void product(const Logit *logit, int turn_b, int m, int n, int k, const double *a, const double *b, double *c) {
    const double one = 1, nothing = 0;
    const int single = 1, plain = AS_IT_IS, row_b = turn_b == TURNED ? k : n;
    logit->products(ROW_MAJOR, &plain, &turn_b, &m, &n, &k, &one, &a, &k, &b, &row_b, &nothing, &c, &n, 1, &single);
}

void sum_over_episodes(const Logit *logit) {
    const int64_t features = logit->features, episodes = logit->episodes;
    double *restrict rows = logit->rows, *restrict missed = rows + features * episodes;
    double *restrict spread = missed + episodes;
    for (int64_t e = 0; e < logit->models; e++) {
        const double *x = logit->differences + e * features * episodes;
        const double *weights = logit->weights + e * episodes, *chosen = logit->chosen + e * episodes;
        product(logit, AS_IT_IS, 1, episodes, features, logit->coefficients + e * features, x, spread);
        for (int64_t b = 0; b < episodes; b++) spread[b] = -spread[b];
        logit->exponentials(episodes, spread, spread, MOST_ACCURATE | DENORMALS_AS_SET | NO_ERRORS);
        for (int64_t b = 0; b < episodes; b++) {
            const double share = 1 / (spread[b] + 1), expected = weights[b] * share;
            missed[b] = chosen[b] - expected;
            spread[b] = expected * (1 - share);
        }
        for (int64_t k = 0; k < features; k++)
            for (int64_t b = 0; b < episodes; b++) rows[k * episodes + b] = x[k * episodes + b] * spread[b];
        product(logit, TURNED, features, features + 1, episodes, x, rows, logit->sums + e * features * (features + 1));
    }
}
