// How near do the integer products come to the machine's own limits?
//
//   bench_integer8 [seconds a line, default 0.25] [threads, default all] [only types whose name has
//   this in it] [only this many rows]
//
// One expert matrix of a K-EXAONE layer after another (2048 x 6144, more of them than the caches
// hold), 1 to 512 rows each, for every type of a quantised file, and BF16 and F16 exactly: GOP/s
// and its share of the measured 8-bit peak, GB/s of stored weights beside that of plain reads of
// the same weights, in turn. Best run of each line.
#include <algorithm>
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

constexpr int64_t kColumns = 2048, kInner = 6144;
constexpr DType kTypes[] = {DType::kQ8_0, DType::kQ6_K, DType::kQ5_K,   DType::kQ4_K,
                            DType::kQ3_K, DType::kQ2_K, DType::kQ4_0,   DType::kQ4_1,
                            DType::kQ5_0, DType::kQ5_1, DType::kIQ4_NL, DType::kIQ4_XS,
                            DType::kBF16, DType::kF16};

Buffer random_bytes(DType dtype, Shape shape) {
  Buffer buffer = Buffer::of(dtype, shape);
  auto* const bytes = static_cast<uint8_t*>(buffer.data());
  const int64_t count = buffer.view(dtype, shape).bytes();
  for (int64_t i = 0; i < count; ++i)
    bytes[i] = static_cast<uint8_t>((static_cast<uint64_t>(i) * 2654435761u) >> 7);
  return buffer;
}

void line(CpuStream& stream, const MachinePeak& peak, DType dtype, const Buffer& weights,
          int64_t experts, int64_t rows, double seconds, Arithmetic arithmetic) {
  const int64_t m = experts * rows;
  std::vector<int64_t> offsets(static_cast<size_t>(experts) + 1);
  for (int64_t e = 0; e <= experts; ++e) offsets[static_cast<size_t>(e)] = e * rows;
  Buffer x = Buffer::of(DType::kF32, {m, kInner}), y = Buffer::of(DType::kF32, {m, kColumns});
  auto* const values = static_cast<float*>(x.data());
  Rng rng(7, 7);
  for (int64_t i = 0; i < m * kInner; ++i)
    values[i] = static_cast<float>(rng.next_u32()) * 0x1p-32f;
  const Shape shape{experts, kColumns, kInner};
  const WeightView w{.data = weights.view(dtype, shape), .arithmetic = arithmetic};
  const auto [s, read] = best_pair_s(
      seconds,
      [&] {
        grouped_linear(w, host_view(std::span<const int64_t>(offsets)),
                       x.view(DType::kF32, {m, kInner}), y.view(DType::kF32, {m, kColumns}),
                       stream);
      },
      [&] { read_once(w.data.data, w.data.bytes(), stream); },
      stream.thread_count() == 1 ? thread_s : now_s);
  const double gops = 2e-9 * static_cast<double>(m * kColumns * kInner) / s;
  const double bytes = 1e-9 * static_cast<double>(w.data.bytes());
  std::printf("%-7s %-8s rows %4lld  %8.1f GOP/s %5.1f %%   %6.1f of %5.1f GB/s %5.1f %%\n",
              std::string(dtype_info(dtype).name).c_str(),
              std::string(arithmetic_name(arithmetic)).c_str(), static_cast<long long>(rows), gops,
              100 * gops / peak.int8_gops, bytes / s, bytes / read, 100 * read / s);
  std::fflush(stdout);
}

int run(double seconds, int threads, std::string_view only, int64_t only_rows) {
  CpuStream stream(threads);
  const MachinePeak peak = measure_peak(stream, 2);
  std::printf("%s, %d threads: f32 %.0f GFLOP/s, int8 %.0f GOP/s, read %.1f GB/s\n",
              std::string(isa_name(isa())).c_str(), stream.thread_count(), peak.fma_gflops,
              peak.int8_gops, peak.read_gbytes_s);
  for (const DType dtype : kTypes) {
    if (dtype_info(dtype).name.find(only) == std::string_view::npos) continue;
    for (const int64_t rows : {1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 64, 512}) {
      if (only_rows > 0 && rows != only_rows) continue;
      const int64_t experts = rows > 64 ? 2 : 16;
      const Buffer w = random_bytes(dtype, {experts, kColumns, kInner});
      if (arithmetic_supports(Arithmetic::kInteger8, dtype))
        line(stream, peak, dtype, w, experts, rows, seconds, Arithmetic::kInteger8);
      if (rows == 1 || rows == 32)
        line(stream, peak, dtype, w, experts, rows, seconds, Arithmetic::kExact);
    }
  }
  return 0;
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) {
  return dure::run(argc > 1 ? std::atof(argv[1]) : 0.25, argc > 2 ? std::atoi(argv[2]) : 0,
                   argc > 3 ? argv[3] : "", argc > 4 ? std::atoi(argv[4]) : 0);
}
