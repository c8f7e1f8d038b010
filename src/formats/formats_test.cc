// What formats/ promises of safetensors and Hugging Face folders: round trips, names in every
// refusal, exact counts.
#include <gtest/gtest.h>

#include <cstring>

#include "base/rng.h"
#include "base/testing.h"
#include "formats/config_fixture.h"
#include "formats/fp8.h"
#include "formats/hf_config.h"
#include "formats/model_files.h"
#include "formats/safetensors.h"

namespace dure {
namespace {

#define EXPECT_SAYS(act, part) \
  EXPECT_NE(message_of([&] { act; }).find(part), std::string::npos) << message_of([&] { act; })

std::string container(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + data;
}

// The smallest model with every kind of tensor.
ModelConfig small_config() {
  ModelConfig c;
  c.vocab_size = 11;
  c.hidden_size = 6;
  c.head_count = 2;
  c.kv_head_count = 1;
  c.head_width = 4;
  const LayerFacts each{
      .dense_width = 5,
      .experts = {.count = 4, .per_token = 2, .width = 3, .shared_count = 1, .scale = 2.5}};
  c.layers = {sliding_layer(each, 4), sparse_layer(sliding_layer(each, 4)), sparse_layer(each)};
  c.mtp_layer = each;
  c.mtp_layer_count = 1;
  c.eos_tokens = {2, 5};
  return c;
}

// Element i of tensor n is a number of its own.
struct CountingProvider : TensorProvider {
  DType dtype(const ImpliedTensor&) const override { return DType::kF32; }
  ConstTensorView fetch(const ImpliedTensor& tensor, Buffer& scratch) override {
    scratch = Buffer(4 * tensor.shape.elements());
    const TensorView view = scratch.view(DType::kF32, tensor.shape);
    for (int64_t i = 0; i < view.elements(); ++i) view.f32()[i] = value(tensor.name, i);
    return view;
  }
  static float value(const std::string& name, int64_t i) {
    return static_cast<float>(static_cast<int64_t>(xxh(name) % 509) + i % 3) / 4;
  }
  static uint64_t xxh(const std::string& name) { return std::hash<std::string>()(name); }
};

TEST(Safetensors, ReadsBackWhatItWrote) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "a.safetensors";
  std::vector<float> a = {1, 2, 3, 4, 5, 6};
  std::vector<uint16_t> b = {7, 8, 9};
  {
    SafetensorsWriter writer(
        path, {{"b", DType::kBF16, {3}}, {"a", DType::kF32, {2, 3}}, {"none", DType::kF32, {0, 4}}},
        {{"format", "pt"}});
    writer.write_piece("a", 0, {reinterpret_cast<char*>(a.data()), 8});
    writer.write("b", {b.data(), {3}, DType::kBF16, Device::kCpu});
    writer.write_piece("a", 8, {reinterpret_cast<char*>(a.data()) + 8, 16});
    EXPECT_FALSE(path_exists(path));
    writer.commit();
  }
  const SafetensorsFile file(path);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(std::memcmp(file.view("a").f32(), a.data(), 24), 0);
  EXPECT_EQ(std::memcmp(file.view("b").bf16(), b.data(), 6), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.view("a").data) % 4, 0u);
  EXPECT_SAYS(file.view("c"), "no tensor 'c'");
}

TEST(Safetensors, EveryTruncationIsAnErrorAndNoTruncationOfDataHidesTheHeader) {
  const TemporaryFolder folder;
  const std::string whole = container(
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}})",
      "abcdefghijk");
  const Path path = folder.path() / "t.safetensors";
  const size_t header_end = whole.size() - 11;
  for (size_t size = 0; size < whole.size(); ++size) {
    write_file(path, whole.substr(0, size));
    EXPECT_THROW(SafetensorsFile{path}, Error) << size;
    if (size < header_end) {
      EXPECT_THROW(SafetensorsFile(path, Extent::kHeader), Error) << size;
    } else {
      EXPECT_EQ(SafetensorsFile(path, Extent::kHeader).tensors().size(), 2u);
    }
  }
  write_file(path, whole.substr(0, header_end + 9));
  EXPECT_SAYS(SafetensorsFile{path}, "truncated: tensor 'y'");
  const SafetensorsFile header(path, Extent::kHeader);
  EXPECT_SAYS(header.view("y"), "the bytes of tensor 'y' are not there");
}

TEST(Safetensors, NamesWhatIsWrong) {
  const TemporaryFolder folder;
  const auto reading = [&](const std::string& header, const std::string& data) {
    const Path path = folder.path() / "bad.safetensors";
    write_file(path, container(header, data));
    return message_of([&] { SafetensorsFile{path}; });
  };
  const auto says = [&](const std::string& header, const std::string& part,
                        const std::string& data = "01234567") {
    const std::string message = reading(header, data);
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_NE(message.find("bad.safetensors"), std::string::npos) << message;
  };
  says(
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      "'x' and 'y' overlap at byte 4");
  says(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       "bytes 0 to 4 before tensor 'x'");
  says(R"({"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})",
       "hold 8 bytes, F32 [3] needs 12");
  says(R"({"x":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,8]}})",
       "tensor 'x'");
  says(R"({"x":{"dtype":"F32","shape":[4611686018427387904,9],"data_offsets":[0,8]}})",
       "more than can be");
  says(R"({"x":{"dtype":"F77","shape":[2],"data_offsets":[0,8]}})",
       "tensor 'x': unknown type 'F77'");
  says(R"({"x":{"dtype":"Q4_K","shape":[2],"data_offsets":[0,8]}})", "unknown type 'Q4_K'");
  says(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "run backwards");
  says(R"({"x":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "whole numbers");
  says(R"({"x":{"dtype":"F32","shape":[2]}})", "are needed");
  says(R"({"x":{"dtype":"F32","shape":[1,1,1,1,2],"data_offsets":[0,8]}})", "more than 4");
  says(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}})",
       "unknown field 'more'");
  says(
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"x":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})",
      "'x' is there twice", "0123456701234567");
  says(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       "4 bytes after the last tensor");
  says(R"({"x":[1]})", "should be an object");
  says(R"({"x":)", "not JSON");
  says(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} 7)", "the header");
}

TEST(Safetensors, CopiesWhatAForeignWriterMisaligned) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "m.safetensors";
  const float value = 2.5f;
  write_file(
      path,
      container(
          R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
          "x" + std::string(reinterpret_cast<const char*>(&value), 4)));
  const SafetensorsFile file(path);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.view("b").data) % 4, 0u);
  EXPECT_EQ(file.view("b").f32()[0], 2.5f);
  EXPECT_EQ(file.view("b").data, file.view("b").data);
}

TEST(SafetensorsSet, NamesMissingAndExtra) {
  const TemporaryFolder folder;
  const std::string one = R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                    two = R"({"y":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  write_file(folder.path() / "1.safetensors", container(one, "a"));
  write_file(folder.path() / "2.safetensors", container(two, "b"));
  const Path index = folder.path() / "model.safetensors.index.json";
  const auto with = [&](const std::string& map) {
    write_file(index, R"({"metadata":{"total_size":2},"weight_map":{)" + map + "}}");
    return message_of([&] { SafetensorsSet{folder.path()}; });
  };
  EXPECT_EQ(with(R"("x":"1.safetensors","y":"2.safetensors")"), "(no error)");
  EXPECT_NE(
      with(R"("x":"1.safetensors","z":"2.safetensors")").find("'z' is missing from 2.safetensors"),
      std::string::npos);
  EXPECT_NE(
      with(R"("x":"1.safetensors","y":"3.safetensors")").find("shard 3.safetensors is missing"),
      std::string::npos);
  write_file(
      folder.path() / "2.safetensors",
      container(
          R"({"y":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          "bc"));
  EXPECT_NE(
      with(R"("x":"1.safetensors","y":"2.safetensors")").find("'w', which the index does not list"),
      std::string::npos);
  EXPECT_NE(with(R"("x":"../1.safetensors")").find("leaves the folder"), std::string::npos);
  const SafetensorsSet set(folder.path() / "1.safetensors");
  EXPECT_EQ(*static_cast<const char*>(set.view("x").data), 'a');
}

TEST(Folder, RoundTripInOneFileAndInShards) {
  const TemporaryFolder folder;
  const ModelConfig config = small_config();
  ModelTexts texts;
  texts.chat_template = "{{ x }}";
  texts.generation_config = "{}";
  CountingProvider provider;
  for (const int64_t shard_bytes : {int64_t{1} << 30, int64_t{300}}) {
    const Path path = folder.path() / std::to_string(shard_bytes);
    write_hf_folder(path, config, texts, provider,
                    {.dtype = DType::kBF16, .shard_bytes_max = shard_bytes});
    const ModelFiles files(path);
    ModelConfig expected = config;
    expected.dtype = "bfloat16";
    EXPECT_EQ(files.config(), expected);
    EXPECT_EQ(files.texts().chat_template, texts.chat_template);
    EXPECT_FALSE(files.texts().tokenizer_json.has_value());
    EXPECT_EQ(static_cast<int64_t>(files.tensors().size()), count_model(config).tensors);
    EXPECT_EQ(files.stored_bytes(), count_model(config).bytes_16bit);
    for (const ImpliedTensor& tensor : files.tensors()) {
      const ConstTensorView view = files.tensor(tensor.id);
      ASSERT_EQ(view.dtype, tensor.always_f32() ? DType::kF32 : DType::kBF16) << tensor.name;
      for (int64_t i = 0; i < view.elements(); ++i) {
        const float got = tensor.always_f32() ? view.f32()[i] : bf16_to_f32(view.bf16()[i]);
        const float want = CountingProvider::value(tensor.name, i);
        ASSERT_EQ(got, tensor.always_f32() ? want : bf16_to_f32(f32_to_bf16(want)))
            << tensor.name << " " << i;
      }
    }
  }
}

// Writes a folder of `tensors` filled with 1, 2, 3, ... in F32.
void write_raw_folder(const Path& folder, const ModelConfig& config,
                      std::vector<TensorInfo> tensors) {
  make_folders(folder);
  write_file(folder / "config.json", write_hf_config(config).dump(1));
  SafetensorsWriter writer(folder / "model.safetensors", tensors);
  for (const TensorInfo& info : tensors) {
    std::vector<float> values(static_cast<size_t>(info.elements()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1);
    std::string bytes(static_cast<size_t>(info.bytes()), '\x38');  // 1.0 in E4M3
    if (info.dtype == DType::kF32) std::memcpy(bytes.data(), values.data(), bytes.size());
    writer.write_piece(info.name, 0, bytes);
  }
  writer.commit();
}

std::vector<TensorInfo> plain_list(const ModelConfig& config) {
  std::vector<TensorInfo> out;
  for (const ImpliedTensor& tensor : implied_tensors(config))
    out.push_back({tensor.name, DType::kF32, tensor.shape});
  return out;
}

TEST(Folder, NamesMissingExtraAndMisShaped) {
  const TemporaryFolder folder;
  const ModelConfig config = small_config();
  const auto opening = [&](const std::function<void(std::vector<TensorInfo>&)>& change) {
    std::vector<TensorInfo> list = plain_list(config);
    change(list);
    const Path path = folder.path() / "m";
    write_raw_folder(path, config, list);
    return message_of([&] { ModelFiles files(path); });
  };
  const auto find = [](std::vector<TensorInfo>& list, const std::string& name) {
    return std::find_if(list.begin(), list.end(),
                        [&](const TensorInfo& info) { return info.name == name; });
  };
  EXPECT_EQ(opening([](auto&) {}), "(no error)");
  const std::string name = "model.layers.1.mlp.experts.2.up_proj.weight";
  EXPECT_NE(opening([&](auto& list) {
              list.erase(find(list, name));
            }).find("1 of the tensors that the configuration implies are missing: " + name),
            std::string::npos)
      << opening([&](auto& list) { list.erase(find(list, name)); });
  // Wrapped models are saved with their wrapper's name in front.
  for (const char* prefix : {"module.", "_orig_mod.", "base_model.model."}) {
    const std::string message = opening([&](auto& list) {
      for (TensorInfo& info : list) info.name = prefix + info.name;
    });
    EXPECT_NE(message.find(fmt::format("'{}model.embed_tokens.weight' is there", prefix)),
              std::string::npos)
        << message;
  }
  EXPECT_EQ(opening([&](auto& list) { list.erase(find(list, name)); }).find("another prefix"),
            std::string::npos);
  EXPECT_NE(opening([&](auto& list) {
              list.push_back({"model.layers.9.x", DType::kF32, {1}});
            }).find("does not imply: model.layers.9.x"),
            std::string::npos);
  EXPECT_NE(opening([&](auto& list) {
              find(list, name)->shape = {6, 3};
            }).find("'" + name + "' is [6, 3], the configuration implies [3, 6]"),
            std::string::npos);
  EXPECT_EQ(opening([&](auto& list) {
              find(list, "model.layers.1.mlp.e_score_correction_bias")->name =
                  "model.layers.1.mlp.gate.e_score_correction_bias";
            }),
            "(no error)");
}

// A folder whose configuration says that the head is the embedding, and weights with a head.
void write_tied_folder(const Path& path, float head_shift, DType head_dtype = DType::kF32) {
  ModelConfig config = small_config();
  std::vector<TensorInfo> list = plain_list(config);
  config.tied_embeddings = true;
  for (TensorInfo& info : list) {
    if (info.name == "lm_head.weight") info.dtype = head_dtype;
  }
  make_folders(path);
  write_file(path / "config.json", write_hf_config(config).dump(1));
  SafetensorsWriter writer(path / "model.safetensors", list);
  for (const TensorInfo& info : list) {
    const float shift = info.name == "lm_head.weight" ? head_shift : 0;
    std::string bytes(static_cast<size_t>(info.bytes()), '\0');
    for (int64_t i = 0; i < info.elements(); ++i) {
      const float value = static_cast<float>(i + 1) + (i == 9 ? shift : 0);
      if (info.dtype == DType::kF32)
        reinterpret_cast<float*>(bytes.data())[i] = value;
      else
        reinterpret_cast<uint16_t*>(bytes.data())[i] = f32_to_bf16(value);
    }
    writer.write_piece(info.name, 0, bytes);
  }
  writer.commit();
}

TEST(Folder, AHeadThatDiffersIsKeptThoughTheFlagSaysTied) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "m";
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    write_tied_folder(path, 0, dtype);
    const ModelFiles same(path);
    EXPECT_TRUE(same.config().tied_embeddings);
    EXPECT_EQ(same.ignored(), std::vector<std::string>{"lm_head.weight"});
    write_tied_folder(path, 1, dtype);
    const ModelFiles other(path);
    EXPECT_FALSE(other.config().tied_embeddings);
    EXPECT_TRUE(other.has({TensorRole::kHead, -1, -1}));
    EXPECT_TRUE(other.ignored().empty());
  }
}

TEST(Folder, SaysWhatItIsInstead) {
  const TemporaryFolder folder;
  int count = 0;
  const auto opening = [&](const std::vector<std::pair<std::string, std::string>>& files) {
    const Path path = folder.path() / std::to_string(count++);
    make_folders(path);
    for (const auto& [name, text] : files) write_file(path / name, text);
    return message_of([&] { ModelFiles model(path); });
  };
  const auto expect = [](const std::string& message, const std::string& part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  const std::string config = write_hf_config(small_config()).dump(),
                    pointer =
                        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 85\n";
  expect(opening({{"config.json", config}, {"pytorch_model.bin", "PK"}}), "PyTorch pickles");
  expect(opening({{"config.json", config}, {"pytorch_model-00001-of-00002.bin", "PK"}}),
         "pytorch_model-00001-of-00002.bin");
  expect(opening({{"adapter_config.json", R"({"base_model_name_or_path":"org/base"})"},
                  {"adapter_model.safetensors", ""}}),
         "an adapter (LoRA) of 'org/base'");
  expect(opening({{"config.json", config}, {"model-00001-of-00002.safetensors", ""}}),
         "no model.safetensors.index.json");
  expect(opening({{"m.gguf", "GGUF"}}), "name the file");
  expect(opening({{"config.json", config}, {"model.safetensors", pointer}}),
         "model.safetensors: a Git LFS pointer in place of a file of 85 bytes");
  expect(opening({{"config.json", config}, {"model.safetensors.index.json", pointer}}),
         "index.json: a Git LFS pointer");
  expect(opening({{"config.json", config},
                  {"model.safetensors", ""},
                  {"model.safetensors.index.json", R"({"weight_map":{"a":"b.safetensors"}})"}}),
         "are both there");
  expect(opening({{"config.json", config},
                  {"model.safetensors.index.json",
                   R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})"}}),
         "shard 1.safetensors is missing (and 1 more)");
  for (const char* name : {"config.json", "tokenizer.json", "chat_template.jinja"}) {
    const Path path = folder.path() / std::to_string(count++);
    write_tied_folder(path, 0);
    write_file(path / name, pointer);
    expect(message_of([&] { ModelFiles model(path); }), std::string(name) + ": a Git LFS pointer");
    write_file(path / name, std::string("\xFF\xFE{\0", 4));
    expect(message_of([&] { ModelFiles model(path); }), std::string(name) + ": text in UTF-16");
  }
}

// Sets a variable for as long as it lives, and unsets it.
struct Environment {
  Environment(std::string name, const std::string& value) : name_(std::move(name)) {
    setenv(name_.c_str(), value.c_str(), 1);
  }
  ~Environment() { unsetenv(name_.c_str()); }
  std::string name_;
};

TEST(FindModel, LooksWhereTheHubPutsModels) {
  const TemporaryFolder folder;
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"})
    unsetenv(name);
  const std::string root = folder.path().string();
  for (const auto& [variable, value, hub] : std::vector<std::array<std::string, 3>>{
           {"HF_HUB_CACHE", root + "/a", root + "/a"},
           {"HUGGINGFACE_HUB_CACHE", root + "/b", root + "/b"},
           {"HF_HOME", root + "/c", root + "/c/hub"},
           {"XDG_CACHE_HOME", root + "/d", root + "/d/huggingface/hub"}}) {
    const Environment environment(variable, value);
    const Path repo = Path(hub) / "models--org--name";
    for (const char* commit : {"0123abc", "4567def"}) make_folders(repo / "snapshots" / commit);
    make_folders(repo / "refs");
    write_file(repo / "refs/main", "0123abc\n");
    write_file(repo / "refs/v2", "4567def");
    EXPECT_EQ(find_model("org/name"), repo / "snapshots/0123abc") << variable;
    EXPECT_EQ(find_model("org/name@v2"), repo / "snapshots/4567def");
    EXPECT_EQ(find_model("org/name@4567"), repo / "snapshots/4567def");
    EXPECT_EQ(find_model(repo.string()), repo / "snapshots/0123abc");
    EXPECT_EQ(find_model(repo.string() + "@v2"), repo / "snapshots/4567def");
    EXPECT_EQ(find_model("models--org--name"), repo / "snapshots/0123abc");
    EXPECT_NE(message_of([] { find_model("org/name@v3"); }).find("not revision 'v3'"),
              std::string::npos);
    EXPECT_NE(message_of([] { find_model("org/other"); }).find(hub), std::string::npos);
  }
}

TEST(Folder, MtpTensorsDecideWhereTheConfigurationIsSilent) {
  const TemporaryFolder folder;
  ModelConfig config = small_config();
  const std::vector<TensorInfo> all = plain_list(config);
  const Path path = folder.path() / "m";
  write_raw_folder(path, config, all);
  Json json = write_hf_config(config);
  Json silent = Json::object();
  for (const auto& [key, value] : json.as_object()) {
    if (key.find("nextn") == std::string::npos && key.find("mtp") == std::string::npos)
      silent[key] = value;
  }
  write_file(path / "config.json", silent.dump());
  EXPECT_EQ(ModelFiles(path).config().mtp_layer_count, 1);
  config.mtp_layer_count = 0;
  config.mtp_layer = {};
  write_file(path / "config.json", write_hf_config(config).dump());
  EXPECT_EQ(ModelFiles(path).ignored().size(), 15u);
  std::vector<TensorInfo> main_only = plain_list(config);
  write_raw_folder(path, small_config(), main_only);  // Announced, dropped by a saver.
  EXPECT_EQ(ModelFiles(path).config(), config);
}

constexpr TensorRole kExpertRoles[] = {TensorRole::kExpertGate, TensorRole::kExpertUp,
                                       TensorRole::kExpertDown};

// small_config() with the experts of its two sparse layers as two stacks each.
std::vector<TensorInfo> fused_list(const ModelConfig& config) {
  std::vector<TensorInfo> list = plain_list(config);
  std::erase_if(list, [](const TensorInfo& info) {
    return info.name.find(".experts.") != std::string::npos;
  });
  for (const char* layer : {"1", "2"}) {
    const std::string prefix = std::string("model.layers.") + layer + ".mlp.experts.";
    list.push_back({prefix + "gate_up_proj", DType::kF32, {4, 6, 6}});
    list.push_back({prefix + "down_proj", DType::kF32, {4, 6, 3}});
  }
  return list;
}

// The address of expert e.
const void* address_of(const ExpertStack& stack, int64_t e) {
  return stack.parts.empty() ? static_cast<const char*>(stack.first.data) + e * stack.stride_bytes
                             : stack.parts[static_cast<size_t>(e)];
}

void expect_same_places(const ModelFiles& files) {
  for (const TensorRole role : kExpertRoles) {
    const ExpertStack stack = files.experts(role, 1);
    for (int64_t e = 0; e < 4; ++e) {
      const ConstTensorView one = files.tensor({role, 1, e});
      EXPECT_EQ(address_of(stack, e), one.data) << role_name(role) << " " << e;
      EXPECT_EQ(stack.first.shape, one.shape);
      EXPECT_EQ(stack.first.dtype, one.dtype);
    }
  }
}

TEST(Folder, ReadsFusedExperts) {
  const TemporaryFolder folder;
  const ModelConfig config = small_config();
  write_raw_folder(folder.path() / "m", config, fused_list(config));
  const ModelFiles files(folder.path() / "m");
  EXPECT_EQ(files.tensor({TensorRole::kExpertGate, 1, 2}).f32()[0], 2 * 36 + 1);
  EXPECT_EQ(files.tensor({TensorRole::kExpertUp, 1, 2}).f32()[0], 2 * 36 + 18 + 1);
  EXPECT_EQ(files.tensor({TensorRole::kExpertDown, 2, 3}).f32()[0], 3 * 18 + 1);
  EXPECT_EQ(files.tensor({TensorRole::kExpertUp, 1, 2}).shape, Shape({3, 6}));
  EXPECT_EQ(files.experts(TensorRole::kExpertGate, 1).stride_bytes, 4 * 36);
  EXPECT_EQ(files.experts(TensorRole::kExpertUp, 1).stride_bytes, 4 * 36);
  EXPECT_EQ(files.experts(TensorRole::kExpertDown, 1).stride_bytes, 4 * 18);
  expect_same_places(files);

  std::vector<TensorInfo> both = fused_list(config);
  both.push_back({"model.layers.1.mlp.experts.3.up_proj.weight", DType::kF32, {3, 6}});
  write_raw_folder(folder.path() / "both", config, both);
  EXPECT_SAYS(ModelFiles(folder.path() / "both"),
              "does not imply: model.layers.1.mlp.experts.3.up_proj.weight");
  both = fused_list(config);
  both.back().shape = {4, 3, 6};
  write_raw_folder(folder.path() / "turned", config, both);
  EXPECT_SAYS(ModelFiles(folder.path() / "turned"),
              "'model.layers.2.mlp.experts.down_proj' is [4, 3, 6], the configuration implies "
              "[4, 6, 3]");
}

TEST(Folder, GivesExpertsOneByOneWhereTheyLie) {
  const TemporaryFolder folder;
  const ModelConfig config = small_config();
  std::vector<TensorInfo> list = plain_list(config);
  write_raw_folder(folder.path() / "m", config, list);
  const ModelFiles files(folder.path() / "m");
  EXPECT_EQ(files.experts(TensorRole::kExpertUp, 1).stride_bytes, 0);
  expect_same_places(files);
  for (const ImpliedTensor& tensor : files.tensors()) EXPECT_TRUE(files.in_place(tensor.id));
  EXPECT_FALSE(files.has({TensorRole::kExpertUp, 0, 0}));
  EXPECT_FALSE(files.has({TensorRole::kExpertUp, 1, 4}));
  EXPECT_FALSE(files.has({TensorRole::kQ, 9, -1}));

  for (TensorInfo& info : list) {
    if (info.name == "model.layers.1.mlp.experts.2.up_proj.weight") info.dtype = DType::kBF16;
  }
  write_raw_folder(folder.path() / "mixed", config, list);
  const ModelFiles mixed(folder.path() / "mixed");
  EXPECT_SAYS(mixed.experts(TensorRole::kExpertUp, 1),
              "experts of model.layers.1.mlp.experts.up_proj.weight have different types, F32 and "
              "BF16");
}

// A file whose first tensor has an odd number of bytes: what follows it fits no type.
TEST(Folder, SaysWhatAForeignWriterMisaligned) {
  const TemporaryFolder folder;
  const ModelConfig config = small_config();
  std::vector<TensorInfo> list = plain_list(config);
  list.insert(list.begin(), {"model.layers.0.self_attn.k_scale", DType::kU8, {1}});
  std::string data(1, '\0');
  for (const TensorInfo& info : list) data.resize(data.size() + static_cast<size_t>(info.bytes()));
  data.resize(data.size() - 1);
  const Path path = folder.path() / "m";
  make_folders(path);
  write_file(path / "config.json", write_hf_config(config).dump(1));
  write_file(path / "model.safetensors", safetensors_header(list) + data);
  const ModelFiles files(path);
  for (const ImpliedTensor& tensor : files.tensors()) {
    EXPECT_FALSE(files.in_place(tensor.id)) << tensor.name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(files.tensor(tensor.id).data) % 4, 0u) << tensor.name;
  }
  expect_same_places(files);
}

TEST(TensorIndex, FindsWhatWasAdded) {
  const std::vector<ImpliedTensor> list = implied_tensors(small_config());
  TensorIndex index;
  for (size_t i = 0; i < list.size(); ++i) {
    EXPECT_FALSE(index.find(list[i].id).has_value());
    index.add(list[i].id, i);
  }
  for (size_t i = 0; i < list.size(); ++i) EXPECT_EQ(index.find(list[i].id), i);
  EXPECT_FALSE(index.find({TensorRole::kExpertGate, 1, -1}).has_value());  // the stack
}

TEST(Folder, DecodesFp8) {
  const TemporaryFolder folder;
  const ModelConfig config = small_config();
  for (const auto& [ending, shape] : std::vector<std::pair<std::string, Shape>>{
           {"_scale_inv", {1, 1}}, {"_scale", {8, 1}}, {"_scale", {1}}}) {
    std::vector<TensorInfo> list = plain_list(config);
    for (TensorInfo& info : list) {
      if (info.name == "model.layers.0.self_attn.q_proj.weight") info.dtype = DType::kF8E4M3;
    }
    write_raw_folder(folder.path() / "m", config, list);
    EXPECT_SAYS(ModelFiles(folder.path() / "m"),
                "neither model.layers.0.self_attn.q_proj.weight_scale nor");
    list.push_back({"model.layers.0.self_attn.q_proj.weight" + ending, DType::kF32, shape});
    write_raw_folder(folder.path() / "m", config, list);
    const ModelFiles files(folder.path() / "m");
    const TensorId id{TensorRole::kQ, 0, -1};
    EXPECT_FALSE(files.in_place(id));
    const ConstTensorView q = files.tensor(id);
    EXPECT_EQ(q.dtype, DType::kBF16);
    EXPECT_EQ(bf16_to_f32(q.bf16()[47]), shape == Shape({8, 1}) ? 8.0f : 1.0f);
  }
}

TEST(Fp8, EveryCode) {
  EXPECT_EQ(f8_e4m3_to_f32(0x7E), 448.0f);
  EXPECT_EQ(f8_e4m3_to_f32(0x01), 0x1p-9f);
  EXPECT_EQ(f8_e4m3_to_f32(0x08), 0x1p-6f);
  EXPECT_EQ(f8_e4m3_to_f32(0xB8), -1.0f);
  EXPECT_NE(f8_e4m3_to_f32(0x7F), f8_e4m3_to_f32(0x7F));
  for (int i = 1; i < 0x7F; ++i)
    EXPECT_GT(f8_e4m3_to_f32(static_cast<uint8_t>(i)), f8_e4m3_to_f32(static_cast<uint8_t>(i - 1)));
}

TEST(Fp8, BlockScales) {
  Buffer weight(130 * 130), scale(16), out(2 * 130 * 130);
  std::memset(weight.data(), 0x38, 130 * 130);
  for (int i = 0; i < 4; ++i) static_cast<float*>(scale.data())[i] = static_cast<float>(i + 1);
  const TensorView result = out.view(DType::kBF16, {130, 130});
  decode_fp8(weight.view(DType::kF8E4M3, {130, 130}), scale.view(DType::kF32, {2, 2}), 128, result);
  EXPECT_EQ(bf16_to_f32(result.bf16()[127 * 130 + 127]), 1.0f);
  EXPECT_EQ(bf16_to_f32(result.bf16()[127 * 130 + 128]), 2.0f);
  EXPECT_EQ(bf16_to_f32(result.bf16()[128 * 130 + 127]), 3.0f);
  EXPECT_EQ(bf16_to_f32(result.bf16()[129 * 130 + 129]), 4.0f);
}

}  // namespace
}  // namespace dure
