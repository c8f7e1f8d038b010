// What do the updates of a step cost, and how near does Muon's orthogonalisation come to the
// machine's arithmetic?
//
//   bench_optimiser [seconds a line, default 0.25] [threads, default all]
//
// Muon on stacks of matrices: time a matrix, and GFLOP/s of the products that must be computed
// (half of the two symmetric ones) beside the measured peak. AdamW: GB/s of the seven passes over
// memory that an update is. Each figure is the best run of its time.
#include "kernels/optimiser.h"

#include <cstdio>
#include <cstdlib>

#include "base/rng.h"
#include "kernels/isa.h"
#include "kernels/peak.h"
#include "tensor/buffer.h"
#include "tensor/cpu_stream.h"
#include "timing.h"

namespace dure {
namespace {

struct Tensor {
  Buffer buffer;
  TensorView view;
  explicit Tensor(Shape shape)
      : buffer(Buffer::of(DType::kF32, shape)), view(buffer.view(DType::kF32, shape)) {
    Rng rng(7, static_cast<uint64_t>(shape.elements()));
    for (int64_t i = 0; i < shape.elements(); ++i)
      view.f32()[i] = static_cast<float>(rng.next_u32() >> 8) * 0x1p-24f - 0.5f;
  }
};

struct Bench {
  CpuStream stream;
  double seconds;
  MachinePeak peak;

  void muon_of(int64_t count, int64_t rows, int64_t columns) {
    const Shape shape{count, rows, columns};
    const Tensor w(shape), g(shape), m(shape);
    const Tensor workspace({muon_workspace_floats(shape, stream.thread_count())});
    const MuonTensor tensor{.weight = w.view, .gradient = g.view, .momentum = m.view};
    const MuonStep step{.learning_rate = 1e-4};
    const double time = best_s(seconds, [&] { muon({&tensor, 1}, step, workspace.view, stream); });
    const auto less = static_cast<double>(std::min(rows, columns)),
               more = static_cast<double>(std::max(rows, columns));
    const double flops = static_cast<double>(count * step.iterations) *
                         (3 * less * less * more + less * less * less);
    std::printf(
        "muon %4lld of %4lld x %4lld %9.1f us a matrix %7.1f GFLOP/s %5.1f %% of the peak\n",
        static_cast<long long>(count), static_cast<long long>(rows),
        static_cast<long long>(columns), 1e6 * time / static_cast<double>(count),
        1e-9 * flops / time, 1e-7 * flops / time / peak.fma_gflops);
  }

  void adamw_of(int64_t count) {
    const Tensor w({count}), g({count});
    const Buffer m = Buffer::of(DType::kF32, {count}), v = Buffer::of(DType::kF32, {count});
    const AdamWTensor tensor{.weight = w.view,
                             .gradient = g.view,
                             .first = m.view(DType::kF32, {count}),
                             .second = v.view(DType::kF32, {count})};
    const double time = best_s(seconds, [&] {
      adamw({&tensor, 1}, {.learning_rate = 1e-4}, stream);
    });
    const double rate = 7 * 4e-9 * static_cast<double>(count) / time;
    std::printf("adamw %10lld %9.1f us %7.1f GB/s %5.1f %% of copying\n",
                static_cast<long long>(count), 1e6 * time, rate, 100 * rate / peak.copy_gbytes_s);
  }
};

int run(int argc, char** argv) {
  Bench b{CpuStream(argc > 2 ? std::atoi(argv[2]) : 0), argc > 1 ? std::atof(argv[1]) : 0.25, {}};
  b.peak = measure_peak(b.stream, 2);
  std::printf("isa %s, threads %d: fma %.1f GFLOP/s, copy %.1f GB/s\n\n", isa_name(isa()).data(),
              b.stream.thread_count(), b.peak.fma_gflops, b.peak.copy_gbytes_s);
  b.muon_of(64, 64, 128);
  b.muon_of(64, 128, 64);
  b.muon_of(64, 96, 256);
  b.muon_of(64, 256, 96);
  b.muon_of(64, 128, 128);
  b.muon_of(16, 128, 384);
  b.muon_of(16, 256, 256);
  b.muon_of(1, 512, 1024);
  b.adamw_of(1 << 16);
  b.adamw_of(1 << 23);
  return 0;
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) { return dure::run(argc, argv); }
