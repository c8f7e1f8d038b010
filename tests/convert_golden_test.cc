// `dure convert` on golden models: folder -> GGUF -> folder and GGUF -> GGUF give the same bytes of
// every tensor and the same configuration; GGUF -> folder gives exactly the decoded values; a split
// set is one model.
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "cli/convert_model.h"
#include "golden.h"
#include "kernels/block_decode.h"

namespace dure {
namespace {

// The tensor as f32.
std::vector<float> values_of(const ModelFiles& files, TensorId id) {
  const ConstTensorView view = files.tensor(id);
  std::vector<float> out(static_cast<size_t>(view.elements()));
  const auto* halves = static_cast<const uint16_t*>(view.data);
  for (size_t i = 0; i < out.size() && !is_block(view.dtype); ++i) {
    out[i] = view.dtype == DType::kF32    ? static_cast<const float*>(view.data)[i]
             : view.dtype == DType::kBF16 ? bf16_to_f32(halves[i])
                                          : f16_to_f32(halves[i]);
  }
  if (is_block(view.dtype)) decode_elements(view.dtype, view.data, 0, view.elements(), out.data());
  return out;
}

void expect_same(const ModelFiles& a, const ModelFiles& b, bool same_types, golden::Report& report,
                 const std::string& where) {
  ModelConfig config = a.config();
  if (!same_types) config.dtype = b.config().dtype;
  EXPECT_EQ(config, b.config()) << where;
  ASSERT_EQ(a.tensors().size(), b.tensors().size()) << where;
  for (const ImpliedTensor& tensor : a.tensors()) {
    if (same_types) {
      EXPECT_EQ(a.dtype(tensor.id), b.dtype(tensor.id)) << where << " " << tensor.name;
    }
    const std::vector<float> x = values_of(a, tensor.id), y = values_of(b, tensor.id);
    ASSERT_EQ(x.size(), y.size());
    for (size_t i = 0; i < x.size(); ++i)
      report.add("values after " + where,
                 std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i])), tensor.name);
    EXPECT_EQ(std::memcmp(x.data(), y.data(), 4 * x.size()), 0) << where << " " << tensor.name;
  }
}

// What llama.cpp's architecture has no words for is refused, saying what; nothing is written.
bool is_said(const ModelFiles& original, const Path& to) {
  try {
    convert_to_gguf(original, to, {});
    return true;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << error.what();
    EXPECT_NE(std::string(error.what()).find("cannot say that layer"), std::string::npos)
        << error.what();
    EXPECT_FALSE(std::filesystem::exists(to));
    return false;
  }
}

TEST(GoldenConvert, FoldersThereAndBack) {
  golden::Report report("convert");
  for (const Path& path : golden::case_folders("hf")) {
    const TemporaryFolder folder;
    const ModelFiles original(path);
    if (!is_said(original, folder.path() / "m.gguf")) {
      std::printf("%s: refused\n", path.filename().c_str());
      continue;
    }
    convert_to_gguf(original, folder.path() / "s.gguf",
                    {.part_bytes_max = original.stored_bytes() / 3});
    const ModelFiles gguf(folder.path() / "m.gguf");
    expect_same(original, gguf, false, report, "folder to GGUF");
    Path first = folder.path() / "s.gguf";
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      if (entry.path().filename().string().starts_with("s-00001-of-")) first = entry.path();
    }
    expect_same(original, ModelFiles(first), false, report, "folder to split GGUF");
    convert_to_folder(gguf, folder.path() / "back", {});
    expect_same(original, ModelFiles(folder.path() / "back"), true, report,
                "folder to GGUF to folder");
  }
}

TEST(GoldenConvert, GgufToFolderAndToItself) {
  golden::Report report("convert");
  for (const Path& root : golden::roots("gguf")) {
    std::set<std::string> models;
    const Json cases = load_json(root / "cases.json");
    for (const Json& item : cases.as_array()) models.insert(item.at("model").as_string());
    for (const std::string& model : models) {
      const TemporaryFolder folder;
      const ModelFiles original(root / model);
      convert_to_folder(original, folder.path() / "f", {});
      const ModelFiles back(folder.path() / "f");
      expect_same(original, back, false, report, "GGUF to folder");
      EXPECT_EQ(back.texts().tokenizer_json.has_value(),
                original.gguf_metadata()->find("tokenizer.ggml.tokens") != nullptr)
          << model;
      convert_to_gguf(original, folder.path() / "m.gguf", {});
      const ModelFiles again(folder.path() / "m.gguf");
      expect_same(original, again, true, report, "GGUF to GGUF");
      if (!back.texts().tokenizer_json) continue;
      convert_to_gguf(back, folder.path() / "b.gguf", {});
      const ModelFiles third(folder.path() / "b.gguf");
      for (const char* key :
           {"tokens", "token_type", "merges", "model", "pre", "bos_token_id", "eos_token_id"}) {
        const std::string name = std::string("tokenizer.ggml.") + key;
        EXPECT_EQ(third.gguf_metadata()->at(name), original.gguf_metadata()->at(name))
            << model << " " << name;
      }
    }
  }
}

}  // namespace
}  // namespace dure
