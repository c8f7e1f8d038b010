// Pre-tokenisers of GGUF vocabularies: each NAME.gguf beside NAME.gguf.inp and NAME.gguf.out, ids
// exact. Vectors without their vocabulary are named and passed over.
#include <gtest/gtest.h>

#include "base/error.h"
#include "data/model_texts.h"
#include "golden.h"

namespace dure {
namespace {

// DURE_BPE_VECTORS, else shared/data/tokenizer/bpe_vectors beside the source tree.
std::vector<Path> vector_files() {
  const char* named = std::getenv("DURE_BPE_VECTORS");
  const Path folder = named != nullptr ? Path(named)
                                       : Path(DURE_SOURCE_DIR).parent_path() / "shared" / "data" /
                                             "tokenizer" / "bpe_vectors";
  std::vector<Path> found;
  if (!std::filesystem::is_directory(folder)) return found;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".inp") found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> out;
  for (size_t begin = 0;;) {
    const size_t end = text.find(separator, begin);
    out.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return out;
    begin = end + separator.size();
  }
}

std::string ids_text(const std::vector<int32_t>& ids) {
  std::string out;
  for (const int32_t id : ids) out += " " + std::to_string(id);
  return out;
}

TEST(BpeVectors, IdsOfGgufVocabularies) {
  golden::Report report("bpe vectors");
  const std::vector<Path> files = vector_files();
  if (files.empty()) std::printf("skipped: no folder of BPE vectors (DURE_BPE_VECTORS)\n");
  for (const Path& inputs : files) {
    Path vocabulary = inputs;
    vocabulary.replace_extension();
    if (!path_exists(vocabulary)) {
      std::printf("no vocabulary for %s: not run\n", inputs.filename().c_str());
      continue;
    }
    const Tokenizer tokenizer = load_tokenizer(vocabulary);
    const std::vector<std::string> texts = split(read_file(inputs), "\n__ggml_vocab_test__\n");
    const std::vector<std::string> expected =
        split(read_file(Path(vocabulary.string() + ".out")), "\n");
    for (size_t i = 0; i < texts.size() && i < expected.size(); ++i) {
      const std::string ids = ids_text(tokenizer.encode(texts[i], {.add_special_tokens = false}));
      std::string wanted = expected[i];
      while (!wanted.empty() && wanted.back() == ' ') wanted.pop_back();
      const std::string where = fmt::format("{} text {}", inputs.filename().string(), i);
      report.add(vocabulary.stem().string(), ids == wanted ? 0 : 1, where);
      EXPECT_EQ(ids, wanted) << where << ": " << texts[i];
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(texts[i], {.add_special_tokens = false})),
                texts[i])
          << where;
    }
  }
}

TEST(BpeVectors, WritesGgufVocabularies) {
  for (const Path& inputs : vector_files()) {
    Path vocabulary = inputs;
    vocabulary.replace_extension();
    if (!path_exists(vocabulary)) continue;
    const GgufFile file(vocabulary, Extent::kHeader);
    const Tokenizer tokenizer = load_tokenizer(vocabulary);
    const GgufVocab read = *read_gguf_vocab(file.metadata(), vocabulary.string()),
                    written = tokenizer.to_gguf();
    EXPECT_EQ(written.tokens, read.tokens);
    EXPECT_EQ(written.merges, read.merges);
    EXPECT_EQ(written.token_types, read.token_types);
    EXPECT_EQ(find_gguf_pretokeniser(written.pre)->patterns.size(),
              find_gguf_pretokeniser(read.pre)->patterns.size());
    GgufMetadata metadata;
    write_gguf_vocab(written, tokenizer.vocab_size(), metadata);
    const Tokenizer again = Tokenizer::from_gguf(*read_gguf_vocab(metadata, "again"), "again");
    const std::string text = "Hello, y'all! 3333 \xF0\x9F\x98\x81   \n\t x";
    EXPECT_EQ(again.encode(text), tokenizer.encode(text));
  }
}

}  // namespace
}  // namespace dure
