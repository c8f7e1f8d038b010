// ggml's block encoders and decoders, for golden_quant.py, which builds this against llama.cpp's
// libggml-base. No part of Dure.
//
//   ggml_blocks INPUT.f32 COLUMNS IMATRIX.f32|- OUT TYPE...
// Writes OUT/TYPE.bin (the rows of INPUT encoded) and OUT/TYPE.f32 (decoded again) for every TYPE.
// A type that needs an importance matrix is passed over where there is none.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "ggml.h"

namespace {

std::vector<float> read_floats(const char* path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const float* data = reinterpret_cast<const float*>(bytes.data());
  return {data, data + bytes.size() / sizeof(float)};
}

void write(const std::string& path, const void* data, size_t size) {
  std::ofstream(path, std::ios::binary)
      .write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
}

bool run_type(const std::string& name, const std::vector<float>& input, int64_t columns,
              const float* importance, const std::string& out) {
  for (int t = 0; t < GGML_TYPE_COUNT; ++t) {
    const auto type = static_cast<ggml_type>(t);
    const ggml_type_traits* traits = ggml_get_type_traits(type);
    if (traits->type_name == nullptr || name != traits->type_name) continue;
    if (importance == nullptr && ggml_quantize_requires_imatrix(type)) return true;
    const int64_t count = static_cast<int64_t>(input.size()), rows = count / columns;
    std::vector<char> blocks(static_cast<size_t>(rows) * ggml_row_size(type, columns));
    ggml_quantize_chunk(type, input.data(), blocks.data(), 0, rows, columns, importance);
    std::vector<float> decoded(input.size());
    traits->to_float(blocks.data(), decoded.data(), count);
    write(out + "/" + name + ".bin", blocks.data(), blocks.size());
    write(out + "/" + name + ".f32", decoded.data(), decoded.size() * sizeof(float));
    return true;
  }
  std::fprintf(stderr, "no type %s\n", name.c_str());
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) {
    std::fprintf(stderr, "usage: %s INPUT COLUMNS IMATRIX OUT TYPE...\n", argv[0]);
    return 2;
  }
  ggml_init_params params{};  // fills the half-precision tables
  ggml_free(ggml_init(params));
  const std::vector<float> input = read_floats(argv[1]);
  const std::string matrix = argv[3];
  const std::vector<float> importance = matrix == "-" ? std::vector<float>() : read_floats(argv[3]);
  for (int i = 5; i < argc; ++i) {
    if (!run_type(argv[i], input, std::atoll(argv[2]),
                  importance.empty() ? nullptr : importance.data(), argv[4]))
      return 1;
  }
  return 0;
}
