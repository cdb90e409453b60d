/* Functions that PyTorch brings along and calls itself: cblas_sgemm_batch and cblas_dgemm_batch, with 32-bit integers,
   and MKL's vmsExp and vmdExp. */

#include <stdint.h>

enum { ROW_MAJOR = 101, AS_IT_IS = 111, TURNED = 112 };                       /* of cblas */
enum { MOST_ACCURATE = 0x2, DENORMALS_AS_SET = 0x140000, NO_ERRORS = 0x100 }; /* of MKL's vector functions */

typedef void Products(int, const int *, const int *, const int *, const int *, const int *, const float *,
                      const float **, const int *, const float **, const int *, const float *, float **, const int *,
                      int, const int *);
typedef void DoubleProducts(int, const int *, const int *, const int *, const int *, const int *, const double *,
                            const double **, const int *, const double **, const int *, const double *, double **,
                            const int *, int, const int *);
typedef void Exponentials(int, const float *, float *, int64_t);
typedef void DoubleExponentials(int, const double *, double *, int64_t);
