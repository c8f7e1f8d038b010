// The finishes of the stack product that linear.h does not use: alpha, beta, another D, and the
// upper half of a symmetric product. Against the chain written out, bit for bit.
#include "kernels/cpu/matmul.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/kernel_testing.h"

namespace dure {
namespace {

using cpu::Finish;
using cpu::matmul_stack;
using cpu::MatMulStack;
using testing::expect_same_bits;
using testing::expect_same_everywhere;
using testing::random_tensor;
using testing::Tensor;

CpuStream& cpu_of(Stream& stream) { return static_cast<CpuStream&>(stream); }

float chain(const float* a, int64_t a_step, const float* b, int64_t b_step, int64_t steps) {
  float sum = 0;
  for (int64_t s = 0; s < steps; ++s) sum = std::fma(a[s * a_step], b[s * b_step], sum);
  return sum;
}

struct Case {
  int64_t parts, rows, columns, steps;
};

// C = alpha A B + beta D, or of C itself.
void check_sums(const Case& c, bool own) {
  const auto [parts, rows, columns, steps] = c;
  const Tensor a = random_tensor({parts * rows, steps}, 1),
               b = random_tensor({parts, steps, columns}, 2),
               d = random_tensor({parts * rows, columns}, 3);
  std::vector<float> want;
  std::vector<int64_t> offsets;
  for (int64_t part = 0; part <= parts; ++part) offsets.push_back(part * rows);
  for (int64_t r = 0; r < parts * rows; ++r) {
    for (int64_t j = 0; j < columns; ++j) {
      const float* column = b.data() + r / rows * steps * columns + j;
      want.push_back(0.7f * chain(a.data() + r * steps, 1, column, columns, steps) +
                     -1.3f * d.data()[r * columns + j]);
    }
  }
  expect_same_everywhere("alpha and beta", [&](Stream& stream) {
    Tensor out = random_tensor({parts * rows, columns}, own ? 3 : 4);
    matmul_stack({.whole = {.rows = parts * rows,
                            .columns = columns,
                            .steps = steps,
                            .a = a.data(),
                            .a_stride = steps,
                            .b = static_cast<const char*>(b.view.data),
                            .b_row_bytes = columns * 4,
                            .c = out.data(),
                            .c_stride = columns,
                            .finish = Finish::kAdd,
                            .d = own ? nullptr : d.data(),
                            .alpha = 0.7f,
                            .beta = -1.3f},
                  .offsets = offsets,
                  .b_parts = {.stride_bytes = steps * columns * 4}},
                 cpu_of(stream));
    expect_same_bits(out.values(), want, "alpha and beta");
    return out.values();
  });
}

TEST(MatMulStack, AlphaAndBeta) {
  for (const Case& c : {Case{1, 1, 1, 1}, Case{3, 5, 7, 9}, Case{2, 33, 40, 520},
                        Case{1, 130, 65, 1030}, Case{4, 16, 32, 0}}) {
    check_sums(c, false);
    check_sums(c, true);
  }
}

// C = x x^T, by rows and by steps, and with a symmetric D.
void check_symmetric(int64_t parts, int64_t n, int64_t steps, bool by_step) {
  const Tensor x = random_tensor({parts, n * steps}, 5);
  Tensor d = random_tensor({parts, n, n}, 6);
  for (int64_t part = 0; part < parts; ++part) {
    float* one = d.data() + part * n * n;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < i; ++j) one[i * n + j] = one[j * n + i];
  }
  const int64_t step = by_step ? n : 1, row = by_step ? 1 : steps;
  std::vector<float> want;
  for (int64_t part = 0; part < parts; ++part) {
    const float* one = x.data() + part * n * steps;
    for (int64_t i = 0; i < n * n; ++i)
      want.push_back(2.5f * chain(one + i / n * row, step, one + i % n * row, step, steps) +
                     0.5f * d.data()[part * n * n + i]);
  }
  std::vector<int64_t> offsets;
  for (int64_t part = 0; part <= parts; ++part) offsets.push_back(part * (by_step ? steps : n));
  expect_same_everywhere("symmetric", [&](Stream& stream) {
    Tensor out = testing::filled({parts, n, n}, NAN);  // The lower half must not be read.
    MatMulStack stack{.whole = {.rows = n,
                                .columns = n,
                                .steps = steps,
                                .a = x.data(),
                                .a_stride = by_step ? n : steps,
                                .a_by_step = by_step,
                                .b = static_cast<const char*>(x.view.data),
                                .b_row_bytes = (by_step ? n : steps) * 4,
                                .b_by_column = !by_step,
                                .c = out.data(),
                                .c_stride = n,
                                .finish = Finish::kAdd,
                                .d = d.data(),
                                .alpha = 2.5f,
                                .beta = 0.5f,
                                .symmetric = true},
                      .offsets = offsets,
                      .ragged_steps = by_step,
                      .b_parts = {.stride_bytes = n * steps * 4},
                      .c_part_elements = n * n};
    (by_step ? stack.whole.steps : stack.whole.rows) *= parts;
    matmul_stack(stack, cpu_of(stream));
    expect_same_bits(out.values(), want, "symmetric");
    return out.values();
  });
}

TEST(MatMulStack, SymmetricUpperHalf) {
  for (const bool by_step : {false, true}) {
    check_symmetric(1, 1, 3, by_step);
    check_symmetric(3, 17, 40, by_step);
    check_symmetric(2, 70, 33, by_step);
    check_symmetric(1, 300, 21, by_step);
    check_symmetric(1, 45, 1100, by_step);
  }
}

}  // namespace
}  // namespace dure
