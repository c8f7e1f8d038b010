// kernels/kernel_testing.h: what the tests of this folder share: random tensors, comparison with a
// derived tolerance, bit comparison, and runs under every instruction set and several thread
// counts. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/isa.h"
#include "kernels/ref/doubles.h"
#include "tensor/buffer.h"
#include "tensor/cpu_stream.h"

namespace dure::testing {

constexpr double kUnit = 0x1p-24;  // Largest relative rounding error of f32.
// gamma_n = n u / (1 - n u): the bound of n successive roundings (Higham, "Accuracy and Stability",
// section 3.1).
inline double gamma(int64_t n) {
  return static_cast<double>(n) * kUnit / (1 - static_cast<double>(n) * kUnit);
}

struct Tensor {
  Buffer buffer;
  TensorView view;
  explicit Tensor(Shape shape, DType dtype = DType::kF32)
      : buffer(Buffer::of(dtype, shape)), view(buffer.view(dtype, shape)) {}
  float* data() const { return view.f32(); }
  std::vector<float> values() const { return {view.f32(), view.f32() + view.elements()}; }
  ref::Doubles wide() const { return ref::widen(view); }
};

inline Tensor random_tensor(Shape shape, uint64_t stream, double scale = 1, double mean = 0) {
  Tensor t(shape);
  Rng rng(20261124, stream);
  for (int64_t i = 0; i < shape.elements(); ++i)
    t.data()[i] = static_cast<float>(mean + scale * rng.normal());
  return t;
}
// A list as a tensor, for what kernels read (indices, offsets, coefficients) and write.
template <typename T>
ConstTensorView list(const std::vector<T>& values) {
  return host_view(std::span<const T>(values));
}
template <typename T>
TensorView list(std::vector<T>& values) {
  return host_view(values.data(), {static_cast<int64_t>(values.size())});
}
inline Tensor filled(Shape shape, float value) {
  Tensor t(shape);
  std::fill_n(t.data(), shape.elements(), value);
  return t;
}

// The worst element of |got - truth| / tolerance, printed; above 1 is a failure.
class Comparison {
 public:
  explicit Comparison(std::string title) : title_(std::move(title)) {}
  ~Comparison() {
    std::printf("  %-34s worst %.2g of its tolerance, |difference| %.3g (%s)\n", title_.c_str(),
                ratio_, difference_, where_.c_str());
  }
  void add(double got, double truth, double tolerance, const std::function<std::string()>& where) {
    const double difference = std::abs(got - truth);
    const double ratio = difference == 0 ? 0 : difference / tolerance;
    if (!(ratio <= 1))
      ADD_FAILURE() << title_ << " at " << where() << ": " << got << " where " << truth << " +- "
                    << tolerance;
    if (ratio <= ratio_) return;
    ratio_ = ratio;
    difference_ = difference;
    where_ = where();
  }
  void add(const Tensor& got, const ref::Doubles& truth, const ref::Doubles& tolerance,
           const std::string& name) {
    ASSERT_EQ(static_cast<size_t>(got.view.elements()), truth.size());
    for (size_t i = 0; i < truth.size() && !::testing::Test::HasFailure(); ++i) {
      add(got.data()[i], truth[i], tolerance[i],
          [&] { return name + " [" + std::to_string(i) + "]"; });
    }
  }

 private:
  std::string title_, where_;
  double ratio_ = 0, difference_ = 0;
};

inline void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b,
                             const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(std::memcmp(&a[i], &b[i], sizeof(float)), 0)
        << what << ": element " << i << ": " << a[i] << " and " << b[i];
  }
}

inline std::vector<Isa> isas() {
  std::vector<Isa> found;
  for (const Isa candidate : kIsas) {
    if (isa_available(candidate))
      found.push_back(candidate);
    else
      std::printf("  skipped: %s is not available here\n",
                  std::string(isa_name(candidate)).c_str());
  }
  return found;
}

// Runs `body` (which returns all its results) with every instruction set and 1, 2 and 3 threads:
// the same bits each time.
inline void expect_same_everywhere(const std::string& what,
                                   const std::function<std::vector<float>(Stream&)>& body) {
  const Isa before = isa();
  std::vector<float> first;
  for (const Isa now : isas()) {
    set_isa(now);
    for (const int threads : {1, 2, 3}) {
      CpuStream stream(threads);
      const std::vector<float> result = body(stream);
      if (first.empty()) first = result;
      expect_same_bits(
          first, result,
          what + ", " + std::string(isa_name(now)) + ", " + std::to_string(threads) + " threads");
    }
  }
  set_isa(before);
}

// Central differences of `loss` against `gradient`, at up to `count` elements of `x` spread over
// it. Truncation and rounding of the quotient: step^2 |f'''| / 6 + 1e-16 |f| / step; `slack` is the
// bound relative to the largest gradient.
inline void expect_gradient(ref::Doubles x, const ref::Doubles& gradient,
                            const std::function<double(const ref::Doubles&)>& loss,
                            const std::string& what, double slack = 1e-7, size_t count = 60) {
  ASSERT_EQ(x.size(), gradient.size()) << what;
  double largest = 1e-30;
  for (const double g : gradient) largest = std::max(largest, std::abs(g));
  const double step = 1e-5;
  for (size_t n = 0; n < std::min(count, x.size()); ++n) {
    const size_t i = n * x.size() / std::min(count, x.size());
    const double value = x[i];
    x[i] = value + step;
    const double above = loss(x);
    x[i] = value - step;
    const double below = loss(x);
    x[i] = value;
    EXPECT_NEAR((above - below) / (2 * step), gradient[i], slack * largest + 1e-9)
        << what << " [" << i << "]";
  }
}

inline double dot(const ref::Doubles& a, const ref::Doubles& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace dure::testing
