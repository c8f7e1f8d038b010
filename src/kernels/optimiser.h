// kernels/optimiser.h: the arithmetic of a weight update: AdamW on flat spans, Muon on one matrix,
// sums of squares.
//
// All in f32 on the CPU; sums of squares in double. Results depend on neither the thread count nor
// the instruction set: every output is computed by one worker in one order, with one rounding where
// a fused operation is meant. Not here: which rule a tensor gets, state, clipping
// (train/optimiser.h). Definitions: docs/training.md. Twin: kernels/ref/optimiser.h (a template;
// double in the golden test).
#pragma once

#include <cstdint>
#include <span>

#include "tensor/device.h"

namespace dure {

struct AdamWStep {
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0;    // Decoupled, applied first: w *= 1 - learning_rate * weight_decay.
  double gradient_scale = 1;  // Gradients are multiplied by it on the way in (clipping).
  int64_t step = 1;           // 1 for the first update: bias correction 1 - beta^step.
};

// w, g, m, v: spans of one length. m, v are updated in place, then w -= lr * m^ / (sqrt(v^) +
// epsilon). Element by element, any split gives the same bits. Source: Loshchilov & Hutter
// 1711.05101, algorithm 2.
void adamw_update(std::span<float> w, std::span<const float> g, std::span<float> m,
                  std::span<float> v, const AdamWStep& step);

struct MuonStep {
  double learning_rate = 0;
  double momentum = 0.95;
  double weight_decay = 0;
  double gradient_scale = 1;
  bool nesterov = true;
  int iterations = 5;
};

// Floats of scratch that muon_update needs for one [rows, cols] matrix.
int64_t muon_scratch_floats(int64_t rows, int64_t cols);

// One matrix. w, g, momentum: [rows, cols], dense. M = momentum * M + g; U = g + momentum * M
// (nesterov) or M; O = orthogonalise(U); w = w (1 - lr wd) - lr 0.2 sqrt(max(rows, cols)) O.
// Source: Moonlight 2502.16982, section 2.2. Runs on `threads`; called inside a loop of the same
// pool it runs on the caller alone, with the same bits.
void muon_update(float* w, const float* g, float* momentum, int64_t rows, int64_t cols,
                 const MuonStep& step, std::span<float> scratch, ThreadPool& threads);

// x: [rows, cols] becomes about U V^T of its SVD: x / (|x|_F + 1e-7), transposed where rows > cols,
// then `iterations` times x = a x + (b A + c A A) x with A = x x^T and (a, b, c) = (3.4445,
// -4.7750, 2.0315). Source: K. Jordan, Muon.
void muon_orthogonalise(float* x, int64_t rows, int64_t cols, int iterations,
                        std::span<float> scratch, ThreadPool& threads);

// Sum of squares in double over eight fixed lanes, folded pairwise. NaN and infinity pass through.
double sum_of_squares(std::span<const float> x);

}  // namespace dure
