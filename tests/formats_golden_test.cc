// Golden model files: every folder of hf/ and every GGUF of gguf/ opens, its tensors are all
// located and counted, its configuration survives writing; the published inventory of K-EXAONE-236B
// is what the configuration implies.
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "base/json.h"
#include "formats/config_fixture.h"
#include "formats/gguf_model.h"
#include "formats/hf_config.h"
#include "formats/model_files.h"
#include "golden.h"

namespace dure {
namespace {

void check_model(const Path& path) {
  const ModelFiles files(path);
  int64_t elements = 0, bytes = 0;
  for (const ImpliedTensor& tensor : files.tensors()) {
    const ConstTensorView view = files.tensor(tensor.id);
    EXPECT_EQ(view.shape, tensor.shape) << tensor.name;
    elements += view.elements();
    bytes += view.bytes();
  }
  EXPECT_EQ(elements, count_model(files.config()).parameters) << path;
  EXPECT_EQ(bytes, files.stored_bytes()) << path;
  EXPECT_TRUE(files.ignored().empty()) << path;
  EXPECT_EQ(parse_hf_config(write_hf_config(files.config()), "again"), files.config()) << path;
  std::printf("golden formats: %s: %zu tensors, %lld parameters, %lld bytes\n",
              path.filename().c_str(), files.tensors().size(), static_cast<long long>(elements),
              static_cast<long long>(bytes));
}

TEST(GoldenFormats, HuggingFaceFolders) {
  for (const Path& path : golden::case_folders("hf")) {
    ASSERT_NO_THROW(check_model(path)) << path;
  }
}

TEST(GoldenFormats, GgufFiles) {
  for (const Path& root : golden::roots("gguf")) {
    const Json cases = load_json(root / "cases.json");
    std::set<std::string> models;
    for (const Json& item : cases.as_array()) models.insert(item.at("model").as_string());
    for (const std::string& model : models) {
      ASSERT_NO_THROW(check_model(root / model)) << model;
    }
  }
}

TEST(GoldenFormats, PublishedInventory) {
  for (const Path& root : golden::roots("k-exaone-236b")) {
    const Json inventory = load_json(root / "gguf-inventory.json");
    std::map<std::string, int64_t> published, implied;
    for (const Json& row : inventory.at("tensors").as_array())
      published[row.at(size_t{0}).as_string()] = row.at(size_t{1}).as_int();
    const ModelConfig config = k_exaone_236b();
    for (const ImpliedTensor& tensor : implied_stacks(config))
      implied[gguf_name(tensor.id, config)] = tensor.shape.elements();
    EXPECT_EQ(implied, published);
    EXPECT_EQ(inventory.at("total_params").as_int(), count_model(config).parameters);
    EXPECT_EQ(inventory.at("bf16_bytes").as_int(), count_model(config).bytes_16bit);
    std::printf("golden formats: published inventory: %zu GGUF tensors agree in name and size\n",
                published.size());
  }
}

}  // namespace
}  // namespace dure
