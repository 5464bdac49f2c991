/* Trains one multi-layer perceptron f_phi with Adam on the mean squared error, on one core; and its loss on given rows.
 *
 * The paper's regressors are small: a general library spends more time on packing the operands of their short matrix products
 * and on passes over memory than on arithmetic. Here the loop over minibatches is inside, and the gradient of a few weight rows
 * goes to Adam while it is in the first-level cache; the whole gradient is never stored.
 *
 * Parameters of a layer, one after the other: weight (inputs x stride), bias (stride) and, where a hidden layer is normalised,
 * gain (stride) and shift (stride). The stride is at least the number of outputs; the entries beyond are never touched.
 * Activations lie in panels of PANEL minibatch rows, each panel features x PANEL: every product is a loop over vectors of rows,
 * with one weight spread over all lanes. Rows that fill up the last panel have a zero gradient.
 */
#include <stdint.h>
#include <stdlib.h>
#include <tgmath.h>

#ifndef REAL
#define REAL float
#endif
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define TILE 8 /* outputs, or weight rows, in one register tile of TILE x 2 accumulators */
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#define TILE 6
#else
#define VECTOR_BYTES 16
#define TILE 4
#endif
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(REAL)))
#define PANEL (2 * LANES)
#define LOSS_ROWS (4 * PANEL) /* rows that a loss is computed for at a time */
#define WAITING 4096          /* gradient entries that wait for Adam, at most: 16 KB */
#define MOST_LAYERS 64
#define BETA1 0.9
#define BETA2 0.999
#define ADAM_EPSILON 1e-8
#define NORM_EPSILON 1e-5

#define INLINE static inline __attribute__((always_inline))
typedef REAL vec __attribute__((vector_size(VECTOR_BYTES)));
#define LOAD(from) (*(const vec *)(from))
#define STORE(to, value) (*(vec *)(to) = (value))
#define SPREAD(scalar) ((REAL)(scalar) - (vec){0}) /* a plain broadcast: x - 0 is x, where 0 + x is not for -0 */
#define ZERO_WHERE(condition, value) ((vec)(~(condition) & (__typeof__(condition))(value))) /* a NaN fails every condition and stays */

typedef struct {
    int64_t inputs, outputs, stride;
    int norm, relu;
    REAL *weight, *bias, *gain, *shift;
    REAL *in, *out;          /* activations before and after: features x rows, in panels */
    REAL *normed, *inv_sd;   /* of the layer norm: normalised values, like out; 1 / standard deviation of each row */
} layer;

typedef struct {
    layer layers[MOST_LAYERS];
    int64_t depth;
    REAL *params, *delta, *delta_before, *strips, *gradient;
    REAL *memory;
} network;

typedef struct {
    REAL *params, *moment1, *moment2;
    REAL step_size, inv_root_correction;
} adam_state;

int64_t kernel_most_layers(void) { return MOST_LAYERS; }

/* Reals from one weight row to the next. Rows a multiple of 1 KB apart would share few sets of a cache. */
int64_t kernel_stride(int64_t outputs) {
    int64_t stride = (outputs + LANES - 1) / LANES * LANES;
    return stride * sizeof(REAL) % 1024 ? stride : stride + LANES;
}

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t panels_of(int64_t rows) { return (rows + PANEL - 1) / PANEL; }

/* Lays the network over its parameters and allocates activations for so many rows; false when there is no memory. */
static int open_network(network *net, const int64_t *sizes, int64_t depth, int layer_norm, REAL *params, int64_t rows) {
    int64_t width = panels_of(rows) * PANEL, widest = 0, total = 0;
    for (int64_t l = 0; l <= depth; l++) {
        widest = most(widest, panels_of(sizes[l]) * PANEL);
        total += 2 * (sizes[l] + 1) * width;
    }
    net->memory = aligned_alloc(VECTOR_BYTES, (total + 3 * widest * width + most(WAITING, TILE * widest) + widest) * sizeof(REAL));
    if (!net->memory) return 0;
    REAL *free_memory = net->memory;
    net->depth = depth;
    net->params = params;
    for (int64_t l = 0; l < depth; l++) {
        layer *at = &net->layers[l];
        at->inputs = sizes[l], at->outputs = sizes[l + 1], at->stride = kernel_stride(sizes[l + 1]);
        at->relu = l + 1 < depth, at->norm = layer_norm && at->relu;
        at->weight = params, at->bias = at->weight + at->inputs * at->stride, params = at->bias + at->stride;
        if (at->norm) at->gain = params, at->shift = params + at->stride, params += 2 * at->stride;
        at->in = l ? at[-1].out : free_memory, free_memory += l ? 0 : at->inputs * width;
        at->out = free_memory, free_memory += at->outputs * width;
        at->normed = free_memory, free_memory += at->outputs * width;
        at->inv_sd = free_memory, free_memory += width;
    }
    net->delta = free_memory, free_memory += widest * width;
    net->delta_before = free_memory, free_memory += widest * width;
    net->strips = free_memory, free_memory += widest * width;
    net->gradient = free_memory;
    return 1;
}

/* torch.optim.Adam with its defaults, on count parameters that begin at p. */
static void adam(const adam_state *state, REAL *p, const REAL *gradient, int64_t count) {
    REAL *restrict param = p, *restrict m = state->moment1 + (p - state->params), *restrict v = state->moment2 + (p - state->params);
    const REAL step_size = state->step_size, inv_root_correction = state->inv_root_correction;
    for (int64_t i = 0; i < count; i++) {
        REAL g = gradient[i];
        m[i] += (REAL)(1 - BETA1) * (g - m[i]);
        v[i] = (REAL)BETA2 * v[i] + (REAL)(1 - BETA2) * g * g;
        param[i] -= step_size * m[i] / (sqrt(v[i]) * inv_root_correction + (REAL)ADAM_EPSILON);
    }
}

/* One register tile: out (tile x PANEL) = start + sum over k of weight[k * along + i * across] * in (count x PANEL). */
INLINE void product(REAL *out, const REAL *start, const REAL *weight, int64_t along, int64_t across, const REAL *in,
                    int64_t count, const int tile) {
    vec sum[TILE][2];
#pragma GCC unroll 8
    for (int i = 0; i < tile; i++) sum[i][0] = sum[i][1] = SPREAD(start ? start[i] : 0);
    for (int64_t k = 0; k < count; k++) {
        vec a = LOAD(in + k * PANEL), b = LOAD(in + k * PANEL + LANES);
        if (across == 1) __builtin_prefetch(weight + k * along + TILE); /* for the next tile: rows are far apart */
#pragma GCC unroll 8
        for (int i = 0; i < tile; i++) {
            vec w = SPREAD(weight[k * along + i * across]);
            sum[i][0] += w * a;
            sum[i][1] += w * b;
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < tile; i++) {
        STORE(out + i * PANEL, sum[i][0]);
        STORE(out + i * PANEL + LANES, sum[i][1]);
    }
}

/* Gradient of tile weight rows for PANEL outputs: the sum over minibatch rows of in[weight row] * delta (outputs). */
INLINE void outer(REAL *gradient, int64_t stride, const REAL *in, int64_t inputs, const REAL *delta, int64_t batch,
                  const int tile) {
    vec sum[TILE][2];
#pragma GCC unroll 8
    for (int i = 0; i < tile; i++) sum[i][0] = sum[i][1] = SPREAD(0);
    for (int64_t first = 0; first < batch; first += PANEL, in += inputs * PANEL) {
        int64_t rows = batch - first < PANEL ? batch - first : PANEL;
        for (int64_t r = 0; r < rows; r++, delta += PANEL) {
            vec a = LOAD(delta), b = LOAD(delta + LANES);
#pragma GCC unroll 8
            for (int i = 0; i < tile; i++) {
                vec x = SPREAD(in[i * PANEL + r]);
                sum[i][0] += x * a;
                sum[i][1] += x * b;
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < tile; i++) {
        STORE(gradient + i * stride, sum[i][0]);
        STORE(gradient + i * stride + LANES, sum[i][1]);
    }
}

/* The tile sizes that the compiler unrolls: TILE while it fits, then 2, then 1. */
static int64_t tile_for(int64_t left) { return left >= TILE ? TILE : left >= 2 ? 2 : 1; }
#define TILED(left, kernel, ...)                          \
    switch (tile_for(left)) {                             \
    case TILE: kernel(__VA_ARGS__, TILE); break;          \
    case 2: kernel(__VA_ARGS__, 2); break;                \
    default: kernel(__VA_ARGS__, 1);                      \
    }

/* h = z; or normalised over the features of each row, times gain plus shift; then the ReLU. */
static void activate(layer *at, int64_t panel) {
    int64_t first = panel * at->outputs * PANEL;
    for (int64_t half = 0; half < PANEL; half += LANES) {
        REAL *z = at->out + first + half, *normed = at->normed + first + half;
        if (at->norm) {
            vec mean = SPREAD(0), variance = SPREAD(0), inv_sd;
            for (int64_t f = 0; f < at->outputs; f++) mean += LOAD(z + f * PANEL);
            mean /= (REAL)at->outputs;
            for (int64_t f = 0; f < at->outputs; f++) variance += (LOAD(z + f * PANEL) - mean) * (LOAD(z + f * PANEL) - mean);
            variance /= (REAL)at->outputs;
            for (int64_t i = 0; i < LANES; i++) inv_sd[i] = 1 / sqrt(variance[i] + (REAL)NORM_EPSILON);
            STORE(at->inv_sd + panel * PANEL + half, inv_sd);
            for (int64_t f = 0; f < at->outputs; f++) {
                vec n = (LOAD(z + f * PANEL) - mean) * inv_sd;
                STORE(normed + f * PANEL, n);
                STORE(z + f * PANEL, n * at->gain[f] + at->shift[f]);
            }
        }
        if (at->relu)
            for (int64_t f = 0; f < at->outputs; f++) STORE(z + f * PANEL, ZERO_WHERE(LOAD(z + f * PANEL) < 0, LOAD(z + f * PANEL)));
    }
}

static void forward(network *net, int64_t panels) {
    for (layer *at = net->layers; at < net->layers + net->depth; at++) {
        for (int64_t n = 0; n < at->outputs; n += tile_for(at->outputs - n))
            for (int64_t q = 0; q < panels; q++)
                TILED(at->outputs - n, product, at->out + (q * at->outputs + n) * PANEL, at->bias + n, at->weight + n, at->stride, 1,
                      at->in + q * at->inputs * PANEL, at->inputs)
        for (int64_t q = 0; q < panels; q++) activate(at, q);
    }
}

/* Strips of PANEL outputs, each minibatch rows x PANEL, from delta, whose panels are outputs x PANEL. */
static void transpose_delta(network *net, const layer *at, int64_t panels) {
    for (int64_t c = 0; c < panels_of(at->outputs); c++)
        for (int64_t q = 0; q < panels; q++) {
            const REAL *from = net->delta + (q * at->outputs + c * PANEL) * PANEL;
            REAL *to = net->strips + (c * panels + q) * PANEL * PANEL;
            int64_t outputs = at->outputs - c * PANEL;
            if (outputs >= PANEL) { /* a constant count, which the compiler turns into vector code */
                for (int64_t j = 0; j < PANEL; j++)
                    for (int64_t r = 0; r < PANEL; r++) to[r * PANEL + j] = from[j * PANEL + r];
            } else {
                for (int64_t j = 0; j < PANEL; j++)
                    for (int64_t r = 0; r < PANEL; r++) to[r * PANEL + j] = j < outputs ? from[j * PANEL + r] : 0;
            }
        }
}

/* delta of the ReLU's output -> delta of the layer's linear output; steps gain and shift. */
static void deactivate(network *net, layer *at, REAL *delta, int64_t panels, const adam_state *state) {
    int64_t width = panels * PANEL, size = at->outputs * width;
    for (int64_t i = 0; i < size; i += LANES) STORE(delta + i, ZERO_WHERE(LOAD(at->out + i) <= 0, LOAD(delta + i)));
    if (!at->norm) return;
    REAL *gain_gradient = net->gradient, *shift_gradient = net->strips;
    for (int64_t f = 0; f < at->outputs; f++) {
        vec for_gain = SPREAD(0), for_shift = SPREAD(0);
        for (int64_t q = 0; q < panels; q++)
            for (int64_t half = 0; half < PANEL; half += LANES) {
                int64_t i = (q * at->outputs + f) * PANEL + half;
                for_gain += LOAD(delta + i) * LOAD(at->normed + i);
                for_shift += LOAD(delta + i);
            }
        gain_gradient[f] = shift_gradient[f] = 0;
        for (int64_t i = 0; i < LANES; i++) gain_gradient[f] += for_gain[i], shift_gradient[f] += for_shift[i];
    }
    for (int64_t row = 0; row < width; row += LANES) {
        int64_t first = row / PANEL * at->outputs * PANEL + row % PANEL;
        REAL *d = delta + first, *normed = at->normed + first;
        vec mean = SPREAD(0), along = SPREAD(0);
        for (int64_t f = 0; f < at->outputs; f++) {
            vec dn = LOAD(d + f * PANEL) * at->gain[f];
            mean += dn;
            along += dn * LOAD(normed + f * PANEL);
        }
        mean /= (REAL)at->outputs, along /= (REAL)at->outputs;
        for (int64_t f = 0; f < at->outputs; f++) {
            vec dn = LOAD(d + f * PANEL) * at->gain[f];
            STORE(d + f * PANEL, (dn - mean - LOAD(normed + f * PANEL) * along) * LOAD(at->inv_sd + row));
        }
    }
    adam(state, at->gain, gain_gradient, at->outputs);
    adam(state, at->shift, shift_gradient, at->outputs);
}

/* From delta of the last layer's output back to the first layer; each parameter is stepped once its old value was used. */
static void backward(network *net, int64_t batch, const adam_state *state) {
    int64_t panels = panels_of(batch);
    for (layer *at = net->layers + net->depth - 1; at >= net->layers; at--) {
        int64_t strips = panels_of(at->outputs), padded = strips * PANEL, at_once = most(TILE, WAITING / padded / TILE * TILE);
        transpose_delta(net, at, panels);
        for (int64_t k0 = 0; k0 < at->inputs; k0 += at_once) {
            int64_t end = k0 + at_once < at->inputs ? k0 + at_once : at->inputs;
            for (int64_t k = k0; k < end; k += tile_for(end - k)) {
                REAL *gradient = net->gradient + (k - k0) * padded;
                for (int64_t q = 0; q < panels && at > net->layers; q++)
                    TILED(end - k, product, net->delta_before + (q * at->inputs + k) * PANEL, NULL, at->weight + k * at->stride, 1,
                          at->stride, net->delta + q * at->outputs * PANEL, at->outputs)
                for (int64_t c = 0; c < strips; c++)
                    TILED(end - k, outer, gradient + c * PANEL, padded, at->in + k * PANEL, at->inputs,
                          net->strips + c * panels * PANEL * PANEL, batch)
            }
            for (int64_t k = k0; k < end; k++) adam(state, at->weight + k * at->stride, net->gradient + (k - k0) * padded, at->outputs);
        }
        for (int64_t i = 0; i < padded; i += LANES) {
            vec sum = SPREAD(0);
            for (int64_t r = 0; r < batch; r++) sum += LOAD(net->strips + (i / PANEL * panels * PANEL + r) * PANEL + i % PANEL);
            STORE(net->gradient + i, sum);
        }
        adam(state, at->bias, net->gradient, at->outputs);
        if (at > net->layers) {
            deactivate(net, at - 1, net->delta_before, panels, state);
            REAL *swap = net->delta;
            net->delta = net->delta_before, net->delta_before = swap;
        }
    }
}

/* Features of the given rows of x, or of consecutive ones, as the network's input; rows that fill up are zero. */
static void enter(network *net, const REAL *x, const int64_t *rows, int64_t count) {
    const layer *first = net->layers;
    for (int64_t r = 0; r < panels_of(count) * PANEL; r++)
        for (int64_t f = 0; f < first->inputs; f++)
            first->in[(r / PANEL * first->inputs + f) * PANEL + r % PANEL] = r < count ? x[(rows ? rows[r] : r) * first->inputs + f] : 0;
}

/* steps optimiser steps of a regressor that has done some before. sizes: depth + 1 widths; rows: steps x batch indices into x
 * (inputs each) and y (outputs each); learning_rates: one a step. Returns 0, or 1 when there is no memory. */
int64_t kernel_train(const int64_t *sizes, int64_t depth, int64_t layer_norm, REAL *params, REAL *moment1, REAL *moment2,
                     const REAL *x, const REAL *y, const int64_t *rows, int64_t steps, int64_t batch, int64_t done,
                     const double *learning_rates) {
    network net;
    if (!open_network(&net, sizes, depth, layer_norm, params, batch)) return 1;
    const layer *last = &net.layers[depth - 1];
    int64_t outputs = last->outputs;
    for (int64_t s = 0; s < steps; s++, rows += batch) {
        double t = (double)(done + s + 1);
        adam_state state = {params, moment1, moment2, learning_rates[s] / (1 - pow(BETA1, t)), 1 / sqrt(1 - pow(BETA2, t))};
        enter(&net, x, rows, batch);
        forward(&net, panels_of(batch));
        for (int64_t r = 0; r < panels_of(batch) * PANEL; r++)
            for (int64_t f = 0; f < outputs; f++) {
                int64_t i = (r / PANEL * outputs + f) * PANEL + r % PANEL;
                net.delta[i] = r < batch ? 2 * (last->out[i] - y[rows[r] * outputs + f]) / (REAL)(batch * outputs) : 0;
            }
        backward(&net, batch, &state);
    }
    free(net.memory);
    return 0;
}

/* Mean over count rows of x and y, and over the outputs, of the squared error times the weight of the output; NaN when there is
 * no memory. */
double kernel_loss(const int64_t *sizes, int64_t depth, int64_t layer_norm, REAL *params, const REAL *x, const REAL *y,
                   const double *weights, int64_t count) {
    network net;
    if (!open_network(&net, sizes, depth, layer_norm, params, LOSS_ROWS)) return NAN;
    const layer *last = &net.layers[depth - 1];
    double sum = 0;
    for (int64_t first = 0; first < count; first += LOSS_ROWS) {
        int64_t rows = count - first < LOSS_ROWS ? count - first : LOSS_ROWS;
        enter(&net, x + first * sizes[0], NULL, rows);
        forward(&net, panels_of(rows));
        for (int64_t r = 0; r < rows; r++)
            for (int64_t f = 0; f < last->outputs; f++) {
                double error = last->out[(r / PANEL * last->outputs + f) * PANEL + r % PANEL] - y[(first + r) * last->outputs + f];
                sum += weights[f] * error * error;
            }
    }
    free(net.memory);
    return sum / (double)(count * last->outputs);
}
