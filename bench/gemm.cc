// How near do the matrix products come to the machine's own limits?
//
//   bench_gemm [seconds a line, default 0.25] [threads, default all] [only lines whose name has
//   this in it]
//
// Prints the measured peaks (kernels/peak.h), then GFLOP/s and the share of the arithmetic peak of
// forward, input gradient and weight gradient for dense and grouped shapes, then decode (1 to 64
// rows) as a share of the read bandwidth. Each figure is the best run of its time: on a shared
// machine the mean measures the neighbours.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "kernels/isa.h"
#include "kernels/linear.h"
#include "kernels/peak.h"
#include "tensor/buffer.h"
#include "tensor/cpu_stream.h"
#include "timing.h"

namespace dure {
namespace {

struct Tensor {
  Buffer buffer;
  TensorView view;
  Tensor(DType dtype, Shape shape)
      : buffer(Buffer::of(dtype, shape)), view(buffer.view(dtype, shape)) {
    Rng rng(7, static_cast<uint64_t>(shape.elements()));
    if (is_block(dtype)) {  // Any bytes are blocks; odd values cost no more time.
      for (int64_t i = 0; i < view.bytes(); ++i)
        static_cast<uint8_t*>(view.data)[i] = static_cast<uint8_t>(i * 37);
      return;
    }
    for (int64_t i = 0; i < shape.elements(); ++i) {
      const float value = static_cast<float>(rng.next_u32() >> 8) * 0x1p-24f - 0.5f;
      if (dtype == DType::kF32)
        view.f32()[i] = value;
      else
        view.bf16()[i] = f32_to_bf16(value);
    }
  }
};

struct Bench {
  CpuStream stream;
  double seconds;
  std::string only;
  MachinePeak peak;

  void line(const char* what, double flops, double time) const {
    std::printf("  %-8s %8.1f GFLOP/s  %5.1f %%", what, flops / time * 1e-9,
                100 * flops / time * 1e-9 / peak.fma_gflops);
  }

  // counts: rows of each expert; one entry: a dense product.
  void shape(const char* name, const std::vector<int64_t>& counts, int64_t n, int64_t k,
             DType dtype, Arithmetic arithmetic = Arithmetic::kExact) {
    if (std::string_view(name).find(only) == std::string_view::npos) return;
    const auto experts = static_cast<int64_t>(counts.size());
    std::vector<int64_t> offsets{0};
    for (const int64_t c : counts) offsets.push_back(offsets.back() + c);
    const int64_t m = offsets.back();
    const ConstTensorView groups = host_view(std::span<const int64_t>(offsets));
    const Tensor w(dtype, {experts, n, k}), x(DType::kF32, {m, k}), dy(DType::kF32, {m, n});
    const Tensor y(DType::kF32, {m, n}), dx(DType::kF32, {m, k}), dw(DType::kF32, {experts, n, k});
    const double flops = 2.0 * static_cast<double>(m * n * k);
    const WeightView weight{.data = w.view, .arithmetic = arithmetic};
    std::printf("%-28s E %3lld M %6lld N %5lld K %5lld %s %s\n", name,
                static_cast<long long>(experts), static_cast<long long>(m),
                static_cast<long long>(n), static_cast<long long>(k), dtype_info(dtype).name.data(),
                arithmetic_name(arithmetic).data());
    line("forward", flops,
         best_s(seconds, [&] { grouped_linear(weight, groups, x.view, y.view, stream); }));
    line("dx", flops, best_s(seconds, [&] {
           grouped_linear_input_gradient(weight, groups, dy.view, dx.view, Write::kSet, stream);
         }));
    line("dw", flops, best_s(seconds, [&] {
           grouped_linear_weight_gradient(groups, dy.view, x.view, dw.view, arithmetic, stream);
         }));
    std::printf("\n");
  }

  // The same in f32 and in BF16.
  void both(const char* name, const std::vector<int64_t>& counts, int64_t n, int64_t k) {
    shape(name, counts, n, k, DType::kF32);
    shape(name, counts, n, k, DType::kBF16, Arithmetic::kBf16);
  }

  // Large shapes come from memory whole; the small ones stay in the caches and show the arithmetic.
  void decode(int64_t n, int64_t k, DType dtype, Arithmetic arithmetic = Arithmetic::kExact) {
    if (fmt::format("decode {} {} {} {}", n, k, dtype_info(dtype).name, arithmetic_name(arithmetic))
            .find(only) == std::string::npos)
      return;
    const Tensor w(dtype, {n, k});
    std::printf("decode N %lld K %lld %s %s (%.0f MB of weights)\n", static_cast<long long>(n),
                static_cast<long long>(k), dtype_info(dtype).name.data(),
                arithmetic_name(arithmetic).data(), static_cast<double>(w.view.bytes()) * 1e-6);
    for (const int64_t m : {1, 2, 4, 8, 16, 32, 64}) {
      const Tensor x(DType::kF32, {m, k}), y(DType::kF32, {m, n});
      const double time = best_s(seconds, [&] {
        linear(WeightView{.data = w.view, .arithmetic = arithmetic}, x.view, y.view, stream);
      });
      const double rate = static_cast<double>(w.view.bytes()) / time * 1e-9,
                   flops = 2.0 * static_cast<double>(m * n * k) / time * 1e-9;
      std::printf(
          "  rows %3lld: %7.1f GB/s of weights, %5.1f %% of reading; %7.1f GFLOP/s, %5.1f %% of "
          "the peak\n",
          static_cast<long long>(m), rate, 100 * rate / peak.read_gbytes_s, flops,
          100 * flops / peak.fma_gflops);
    }
  }
};

std::vector<int64_t> uneven(int64_t experts, int64_t rows) {  // Loads from 1/4 to 7/4 of the mean.
  std::vector<int64_t> counts;
  for (int64_t e = 0; e < experts; ++e)
    counts.push_back(rows / experts *
                     (1 + 6 * (e * 7 % experts) / std::max<int64_t>(1, experts - 1)) / 4);
  return counts;
}

int run(int argc, char** argv) {
  Bench b{CpuStream(argc > 2 ? std::atoi(argv[2]) : 0),
          argc > 1 ? std::atof(argv[1]) : 0.25,
          argc > 3 ? argv[3] : "",
          {}};
  b.peak = measure_peak(b.stream, 2);
  std::printf(
      "isa %s, threads %d: fma %.1f GFLOP/s a thread, %.1f all; read %.1f GB/s, copy %.1f GB/s\n\n",
      isa_name(isa()).data(), b.stream.thread_count(), b.peak.fma_gflops_thread, b.peak.fma_gflops,
      b.peak.read_gbytes_s, b.peak.copy_gbytes_s);
  b.both("nano q projection", {4096}, 256, 128);
  b.both("nano attention output", {4096}, 128, 256);
  b.both("nano router", {4096}, 16, 128);
  b.both("nano experts, even", std::vector<int64_t>(16, 512), 64, 128);
  b.both("nano experts, uneven", uneven(16, 8192), 64, 128);
  b.both("small experts, uneven", uneven(32, 8192), 128, 256);
  b.both("medium experts, uneven", uneven(64, 16384), 256, 512);
  b.both("nano logits", {1024}, 4096, 128);
  b.both("dense", {4096}, 512, 512);
  b.both("dense", {2048}, 2048, 2048);
  b.shape("dense", {2048}, 2048, 2048, DType::kBF16);
  b.both("dense, odd", {1999}, 1003, 777);
  b.decode(8192, 8192, DType::kBF16);
  b.decode(12288, 6144, DType::kBF16);
  b.decode(8192, 4096, DType::kF32);
  b.decode(2048, 512, DType::kBF16);
  b.decode(8192, 8192, DType::kBF16, Arithmetic::kBf16);
  b.decode(2048, 512, DType::kBF16, Arithmetic::kBf16);
  b.decode(1024, 1024, DType::kQ8_0);
  b.decode(1024, 1024, DType::kQ4_K);
  return 0;
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) { return dure::run(argc, argv); }
