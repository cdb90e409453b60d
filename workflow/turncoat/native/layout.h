/* How a step's episodes are laid out. The structures are those of structures.py. */

#include <stdint.h>

/* Numbers (E, options, episodes, numbers), which lie as their strides say: those that options share have a stride of 0
   from one to the next. */
typedef struct {
    const float *numbers;
    int64_t count, strides[4];
} Part;

/* A step is laid out as (E, inputs, options, episodes), with strides for all but the last: symbols, then parts. */
typedef struct {
    int64_t members, options, episodes, attributes, symbols, parts;
    const uint8_t *pairs; /* (E, attributes, options, episodes) */
    int64_t pair_strides[3];
    const Part *shown;
    float *out;
    int64_t out_strides[3];
} Layout;

void lay_out_one(const Layout *layout, int64_t e);
