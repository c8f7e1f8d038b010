// Bad input for every verb of the real program: each row spoils something with a line of shell,
// runs a command, and expects exit code 2, one line on standard error that names what is wrong,
// nothing on standard output, and the folder as it was. Then the same on a full disk, and without
// permission. Not here: kills (training_e2e_test.cc, rl_e2e_test.cc).
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "base/file.h"

namespace dure {
namespace {

struct Case {
  // Shell, run beside a fresh copy of the model `m`, its GGUF file `m.gguf`, and `in/`.
  std::string spoil;
  std::string command;  // Without `dure`.
  std::string names;    // What the message must hold.
};

int shell(const std::string& line) {
  const int status = std::system(line.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Name and size of everything below the folder; folders end in "/".
std::map<std::string, int64_t> listing(const Path& folder) {
  std::map<std::string, int64_t> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().lexically_relative(folder).string();
    if (entry.is_directory())
      out[name + "/"] = 0;
    else
      out[name] = static_cast<int64_t>(entry.is_regular_file() ? entry.file_size() : 0);
  }
  return out;
}

class BadInput : public testing::Test {
 protected:
  // A corpus, a tokenizer, a model, made by the program itself; `in/` is what the commands are
  // given.
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    std::filesystem::permissions(folder_->path(), std::filesystem::perms(0755));
    for (const auto& [name, value] :
         {std::pair("DURE_PROGRESS", "off"), {"DURE_LOG", "warn"}, {"DURE_THREADS", "1"}})
      ::setenv(name, value, 1);
    ::setenv("dure", DURE_BINARY, 1);
    make_folders(at("in/texts"));
    for (int file = 0; file < 8; ++file) {
      std::ofstream text(at("in/texts") / (std::to_string(file) + ".txt"));
      for (int line = 0; line < 30; ++line)
        text << "the village shares its work among many hands and rests at noon " << file << ' '
             << line << '\n';
    }
    std::ofstream(at("in/train.yaml")) << R"(output: out
tokenizer: in/tokenizer
steps: 2
model: {model_type: exaone_moe, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 4, num_attention_heads: 2,
  num_key_value_heads: 1, head_dim: 16, sliding_window: 8, sliding_window_pattern: LLLG, first_k_dense_replace: 1,
  moe_intermediate_size: 16, num_experts: 4, num_experts_per_tok: 2, num_shared_experts: 1, rope_theta: 10000,
  num_nextn_predict_layers: 1, max_position_embeddings: 256}
data: {corpus: in/corpus}
batch: {rows: 2, tokens: 32}
schedule: {warmup_steps: 1, decay_fraction: 0}
record: {checkpoint_steps: 1, eval_steps: 0}
)";
    std::ofstream(at("in/rl.yaml")) << R"(init: m
output: out
steps: 1
rollout: {prompts_per_step: 2, group_size: 2, new_tokens_max: 8, sequences_max: 4}
tasks: {languages: [en]}
schedule: {warmup_steps: 1, decay_fraction: 0}
)";
    std::ofstream(at("in/sft.yaml")) << R"(init: m
output: out
stage: sft
steps: 1
data: {tasks_weight: 1}
batch: {rows: 2, tokens: 128}
schedule: {warmup_steps: 1, decay_fraction: 0}
)";
    std::ofstream(at("in/ids.json")) << "[1, 2, 3]\n";
    std::ofstream(at("in/messages.json")) << R"([{"role": "user", "content": "x"}])" << '\n';
    for (const char* command :
         {"data prepare in/texts --language en --heldout-fraction 0.2 -o in/corpus",
          "tokenizer train in/corpus --vocab-size 320 -o in/tokenizer",
          "train in/train.yaml --set output=run", "convert run/model model.gguf"}) {
      ASSERT_EQ(shell(in_folder(std::string("\"$dure\" ") + command + " >log 2>&1")), 0)
          << command << ": " << read_file(at("log"));
    }
    // An embedding that is not a number: the first tensor of the file, after eight bytes of length
    // and the header.
    std::string bytes = read_file(at("run/model/model.safetensors"));
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
    for (size_t i = 8 + header_bytes; i < 8 + header_bytes + 4 * 300 * 32; i += 4)
      bytes.replace(i, 4, "\0\0\xc0\x7f", 4);
    write_file(at("nan.safetensors"), bytes);
    shell(in_folder("rm -f log; chmod -R a+rX ."));
  }
  static void TearDownTestSuite() { folder_.reset(); }
  static Path at(const std::string& name) { return folder_->path() / name; }
  static std::string in_folder(const std::string& line) {
    return "cd '" + folder_->path().string() + "' && " + line;
  }

  // A folder of its own for one case.
  static void fresh(const char* spoil) {
    shell(
        in_folder("chmod -R u+rwX case 2>/dev/null; rm -rf case; mkdir case && cp -r in case/in && "
                  "cp -r run/model case/m && "
                  "cp model.gguf case/m.gguf && cp -r run case/run"));
    ASSERT_EQ(shell(in_folder(std::string("cd case && ") + spoil)), 0) << spoil;
  }

  // What went before the error may have been worth a warning.
  static std::string without_warnings(const std::string& text) {
    std::istringstream lines(text);
    std::string out;
    for (std::string line; std::getline(lines, line);)
      if (line.find(" warning: ") == std::string::npos) out += line + "\n";
    return out;
  }

  static void expect_refused(const Case& c, const std::string& as = "") {
    SCOPED_TRACE(std::string(c.spoil) + "  |  dure " + c.command);
    fresh(c.spoil.c_str());
    const auto before = listing(at("case"));
    const int code = shell(in_folder("cd case && " + as + " timeout 120 \"$dure\" " + c.command +
                                     " </dev/null >../out 2>../err"));
    const std::string error = read_file(at("err"));
    EXPECT_EQ(code, 2) << error;
    EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
    EXPECT_TRUE(error.starts_with("dure")) << error;
    EXPECT_LT(error.size(), 700u) << error;
    EXPECT_NE(error.find(c.names), std::string::npos) << "wanted '" << c.names << "' in: " << error;
    EXPECT_EQ(read_file(at("out")), "");
    EXPECT_EQ(listing(at("case")), before);
  }
  static void expect_refused(const std::vector<Case>& cases) {
    for (const Case& c : cases) expect_refused(c);
  }

  static std::unique_ptr<TemporaryFolder> folder_;
};
std::unique_ptr<TemporaryFolder> BadInput::folder_;

// Every verb that takes a model takes a damaged one the same way.
TEST_F(BadInput, Models) {
  const std::vector<std::pair<const char*, const char*>> damages = {
      {"rm -r m", "m: no such file or folder"},
      {"rm -r m; mkdir m", "config.json"},
      {"rm m/model.safetensors", "model.safetensors"},
      {": > m/model.safetensors", "m/model.safetensors: 0 bytes"},
      {"truncate -s 5000 m/model.safetensors", "m/model.safetensors: truncated"},
      {"truncate -s -4 m/model.safetensors", "m/model.safetensors"},
      {"truncate -s 100 m/config.json", "m/config.json: not JSON"},
      {"sed -i 's/F32/I64/' m/model.safetensors", "model.embed_tokens.weight"},
      {"sed -i 's/F32/F31/' m/model.safetensors", "F31"},
      {"sed -i 's/norm.weight/nurm.weight/' m/model.safetensors", "norm.weight"},
      {R"(sed -i 's/"hidden_size": *32/"hidden_size": 48/' m/config.json)",
       "is [320, 32], the configuration implies [320, 48]"},
      {R"(sed -i 's/"hidden_act"/"hidden_actt"/' m/config.json)", "unknown field 'hidden_actt'"},
      {R"(sed -i 's/"num_experts": *4/"num_experts": -4/' m/config.json)", "num_experts is -4"},
      {R"(sed -i 's/"num_experts": *4/"num_experts": "four"/' m/config.json)",
       "num_experts should be an integer"},
  };
  for (const char* command : {"score m --ids in/ids.json", "generate m -p x", "chat m",
                              "convert m out.gguf", "rl in/rl.yaml", "train in/sft.yaml",
                              "eval m --out report --set tasks.problems_per_cell=1"}) {
    // The others go through the same reader.
    const bool all = std::string(command).starts_with("score");
    for (size_t i = 0; i < damages.size(); i += all ? 1 : 3)
      expect_refused({{damages[i].first, command, damages[i].second}});
  }
  expect_refused({
      {"truncate -s 5000 m/model.safetensors", "inspect m", "truncated"},
      {R"(sed -i 's/"num_experts": *4/"num_experts": "four"/' m/config.json)", "inspect m",
       "num_experts"},
      {"truncate -s 5000 m/model.safetensors", "plan m", "truncated"},
      {"rm -r m", "plan m", "m: no such file or folder"},
      {"truncate -s 100 m/config.json", "plan m/config.json", "m/config.json: not JSON"},
  });
}

TEST_F(BadInput, GgufFiles) {
  expect_refused({
      {": > m.gguf", "score m.gguf --ids in/ids.json", "m.gguf"},
      {"truncate -s 10 m.gguf", "score m.gguf --ids in/ids.json", "m.gguf: truncated at byte"},
      {"truncate -s 3000 m.gguf", "generate m.gguf -p x", "m.gguf: truncated at byte"},
      {"truncate -s -1000 m.gguf", "score m.gguf --ids in/ids.json", "truncated: tensor"},
      {"truncate -s -1000 m.gguf", "convert m.gguf out", "truncated: tensor"},
      {"truncate -s 3000 m.gguf", "inspect m.gguf", "truncated at byte"},
      {"truncate -s 3000 m.gguf", "plan m.gguf", "truncated at byte"},
      {"truncate -s 3000 m.gguf", "tokenizer encode m.gguf in/texts/1.txt", "truncated at byte"},
      {"sed -i 's/exaone-moe/llamallama/' m.gguf", "chat m.gguf", "llamallama"},
      {"sed -i 's/token_embd.weight/token_emxd.weight/' m.gguf", "score m.gguf --ids in/ids.json",
       "token_em"},
  });
}

TEST_F(BadInput, WeightsThatAreNotNumbers) {
  const char* spoil = "cp ../nan.safetensors m/model.safetensors";
  expect_refused({
      {spoil, "score m --ids in/ids.json --logits out.f32", "not finite"},
      {spoil, "score m --ids in/ids.json --gradients out.safetensors", "not finite"},
      {spoil, "generate m -p x --temperature 0", "not finite"},
      {spoil, "generate m -p x --temperature 1 --top-p 0.9", "not finite"},
      {spoil, "eval m --out report --set tasks.problems_per_cell=1 --set tasks.new_tokens_max=4",
       "not finite"},
  });
}

// A run that diverges keeps its checkpoint and leaves nothing half-written beside it.
TEST_F(BadInput, TrainingThatDiverges) {
  fresh("cp ../nan.safetensors m/model.safetensors");
  for (const auto& [command, names] :
       {std::pair("train in/train.yaml --set optimiser.kind=adamw --set "
                  "optimiser.learning_rate=1e36 --set "
                  "optimiser.clip_norm=0 --set steps=9",
                  "step 2"),
        {"train in/sft.yaml --set output=sft", "step 1: the loss is"},
        {"rl in/rl.yaml --set output=rl", "not finite"}}) {
    const int code = shell(
        in_folder(std::string("cd case && \"$dure\" ") + command + " </dev/null >../out 2>../err"));
    const std::string error = without_warnings(read_file(at("err")));
    EXPECT_EQ(code, 2) << command << error;
    EXPECT_NE(error.find(names), std::string::npos) << error;
    EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
  }
  EXPECT_TRUE(path_exists(at("case/out/checkpoints/step-00000001/manifest.json")));
  for (const auto& [name, size] : listing(at("case")))
    EXPECT_EQ(name.find(".tmp-"), std::string::npos) << name;
  for (const char* run : {"out", "sft", "rl"})
    EXPECT_FALSE(path_exists(at("case") / run / "model")) << run;
}

TEST_F(BadInput, TokenizersAndTemplates) {
  for (const char* command :
       {"generate m -p x", "chat m", "tokenizer encode m in/texts/1.txt",
        "score m --text in/texts/1.txt", "rl in/rl.yaml", "train in/sft.yaml"}) {
    expect_refused({{"truncate -s 1000 m/tokenizer.json", command, "m/tokenizer.json: not JSON"},
                    {"rm m/tokenizer.json", command, "tokenizer"}});
  }
  expect_refused({
      {R"(sed -i 's/"type": *"BPE"/"type": "WordPiece"/' m/tokenizer.json)",
       "tokenizer encode m in/texts/1.txt", "WordPiece"},
      {"truncate -s 1000 m/chat_template.jinja", "generate m -p x --chat",
       "m/chat_template.jinja: line"},
      {"truncate -s 1000 m/chat_template.jinja", "render m in/messages.json",
       "m/chat_template.jinja: line"},
      {"truncate -s 1000 m/tokenizer_config.json", "render m in/messages.json",
       "m/tokenizer_config.json: not JSON"},
      {"printf 'line\\n{{ x | nofilter }}' > t", "render --template t in/messages.json",
       "t: line 2: No filter named 'nofilter'"},
      {"printf '{{ raise_exception(\"no\\nway\") }}' > t", "render --template t in/messages.json",
       "no\\nway"},
      {"printf '\\377{{ x }}' > t", "render --template t in/messages.json", "not UTF-8"},
      {"printf '{%% for i in range(99999999) %%}{%% for j in range(99999999) %%}{%% endfor %%}{%% "
       "endfor %%}' > t",
       "render --template t in/messages.json", "t: line 1"},
      {":", "render m in/nowhere.json", "in/nowhere.json"},
      {"truncate -s 20 in/messages.json", "render m in/messages.json",
       "in/messages.json: not JSON"},
      {"echo '[{\"role\": \"usr\", \"content\": \"x\"}]' > in/messages.json",
       "render --format k1 in/messages.json", "usr"},
      {"echo '[{\"role\": \"user\", \"content\": 5}]' > in/messages.json",
       "render --format k2 in/messages.json", "messages[0]: 'content' is neither"},
      {"echo '[1, -5]' > ids", "tokenizer decode in/tokenizer ids",
       "position 1: -5 is not a token id"},
      {"echo 999999 > ids", "tokenizer decode in/tokenizer ids", "999999"},
      {":", "tokenizer encode in/tokenizer nowhere", "nowhere"},
      {":", "tokenizer train nowhere -o out", "nowhere"},
      {": > empty", "tokenizer train empty -o out", "no text"},
      {"printf '\\037\\213\\010damaged' > t.txt.gz", "tokenizer train t.txt.gz -o out", "t.txt.gz"},
  });
}

TEST_F(BadInput, TrainingConfigurations) {
  for (const std::string verb : {"train in/train.yaml", "rl in/rl.yaml"}) {
    const auto with = [&](const char* setting) { return verb + " --set " + setting; };
    for (const auto& [setting, names] :
         {std::pair("stepz=3", "unknown field 'stepz'; did you mean 'steps'?"),
          {"steps=-1", "steps is -1"},
          {"steps=many", "steps should be an integer"},
          {"steps.x=1", "'steps.x=1'"},
          {"nonsense", "'nonsense'"},
          {"optimiser.learning_rate=nan", "learning_rate is nan"},
          {"optimiser.kind=sgd", "kind is 'sgd': choose one of"},
          {"output=in/ids.json/x", "in/ids.json"}})
      expect_refused({{":", with(setting).c_str(), names}});
  }
  expect_refused({
      {":", "train nowhere.yaml", "nowhere.yaml"},
      {":", "train in/texts", "it is a folder"},
      {"echo 'steps: [1, 2' > c.yaml", "train c.yaml", "c.yaml: not YAML, line"},
      {"printf 'steps: 1\\nsteps: 2\\n' > c.yaml", "train c.yaml",
       "line 2: 'steps' is given twice"},
      {"printf '\\377\\376' > c.yaml", "rl c.yaml", "c.yaml: not UTF-8"},
      {": > c.yaml", "rl c.yaml", "c.yaml should be an object"},
      {"printf 'a: &a [1,1,1,1,1,1,1,1,1]\\nb: &b [*a,*a,*a,*a,*a,*a,*a]\\nc: &c "
       "[*b,*b,*b,*b,*b,*b]\\nd: &d [*c,*c,*c,*c,*c]\\n"
       "e: [*d,*d,*d,*d,*d,*d,*d]\\n' > c.yaml",
       "train c.yaml", "aliases"},
      {"sed -i 's/hidden_size: 32/hiden_size: 32/' in/train.yaml", "train in/train.yaml",
       "hidden_size is missing"},
      {"sed -i 's/num_experts_per_tok: 2/num_experts_per_tok: 9/' in/train.yaml",
       "train in/train.yaml", "num_experts_per_tok"},
      {":", "train in/train.yaml --set data.corpus=nowhere", "nowhere is not a prepared corpus"},
      {":", "train in/train.yaml --set tokenizer=nowhere", "nowhere"},
      {"truncate -s 1000 in/corpus/train.jsonl", "train in/train.yaml",
       "in/corpus/train.jsonl:1: not JSON"},
      {"rm in/corpus/train.jsonl", "train in/train.yaml", "in/corpus/train.jsonl"},
      {"truncate -s 20 in/corpus/manifest.json", "train in/train.yaml",
       "in/corpus/manifest.json: not JSON"},
      {":", "rl in/rl.yaml --set rollout.group_size=1", "group_size is 1"},
      {":", "rl in/rl.yaml --set objective.objective=ppo", "choose one of agapo"},
      {":", "rl in/rl.yaml --set tasks.languages=[fr]", "'fr'"},
      {":", "train in/train.yaml --set output=run --set seed=2", "another 'seed'"},
      {"truncate -s 3000 run/checkpoints/step-00000002/optimiser.safetensors",
       "train in/train.yaml --set output=run --set steps=3",
       "optimiser.safetensors has 3000 bytes"},
      {"truncate -s 100 run/checkpoints/step-00000002/manifest.json",
       "train in/train.yaml --set output=run --set steps=3",
       "step-00000002: manifest.json cannot be read"},
      {"echo garbage > run/metrics.jsonl", "train in/train.yaml --set output=run --set steps=3",
       "run/metrics.jsonl: not JSON"},
      {"truncate -s 40 run/cache/*.shard; mv run/cache/*.shard s.shard", "data inspect s.shard",
       "s.shard"},
  });
}

TEST_F(BadInput, DataScoresPlansAndOptions) {
  expect_refused({
      {":", "data prepare nowhere -o out", "nowhere"},
      {":", "data prepare in/texts", "--out is missing"},
      {":", "data prepare in/texts -o out --heldout-fraction 2", "--heldout-fraction is 2"},
      {":", "data prepare in/texts -o out --set nonsense=1", "unknown field 'nonsense'"},
      {":", "data prepare in/texts -o in/ids.json", "in/ids.json is a file"},
      {":", "data prepare in/texts -o in/texts", "something else than a prepared corpus"},
      {"mkdir e", "data prepare e -o out", "no usable file in e"},
      {"echo 'sources: [{name: a, paths: [nowhere]}]' > d.yaml", "data prepare d.yaml -o out",
       "nowhere"},
      {":", "data inspect nowhere", "nowhere"},
      {"truncate -s 30 in/corpus/train.jsonl", "data inspect in/corpus/train.jsonl",
       "train.jsonl:1"},
      {"echo '[1, 9999]' > i", "score m --ids i --logits out.f32", "token 1 of row 0 is 9999"},
      {"echo '[[1, 2], []]' > i", "score m --ids i", "row 1 has no tokens"},
      {"echo '[1, 2.5]' > i", "score m --ids i", "2.5"},
      {"echo hello > i", "score m --ids i", "'hello' is not a token id"},
      {"echo '[1, 2' > i", "score m --ids i", "i: not JSON"},
      {":", "score m --ids in/ids.json --logits no/where", "no/where"},
      {":", "score m --ids in/ids.json --gradients no/where", "no/where"},
      {":", "score m", "--ids"},
      {":", "convert m m.gguf", "m.gguf is there already"},
      {":", "convert m out.gguf --type q9", "--type 'q9'"},
      {":", "convert m no/where/out.gguf", "no/where"},
      {":", "convert m out.gguf --part-size 0", "--part-size '0'"},
      {":", "plan m --context 0", "--context is 0"},
      {":", "plan m --kv-type f64", "--kv-type 'f64'"},
      {":", "plan m --train --optimiser sgd", "'sgd'"},
      {":", "plan in/train.yaml --vocabulary -5", "--vocabulary is -5"},
      {":", "eval --out report", "at least one model"},
      {":", "eval m --suite nowhere.yaml --out report", "nowhere.yaml"},
      {":", "eval m --suite in/train.yaml --out report", "in/train.yaml: unknown field"},
      {":", "eval m --out report --set text.corpus=nowhere --set tasks.problems_per_cell=1",
       "nowhere is not a prepared corpus"},
      {":", "eval m --out report --log nowhere", "nowhere/metrics.jsonl"},
      {":", "eval m --out in/ids.json", "in/ids.json"},
      {":", "generate m -p x --temperature -1", "temperature is -1"},
      {":", "generate m -p x --top-p abc", "--top-p = abc"},
      {":", "generate m -p x -n 0", "0 new tokens"},
      {":", "generate m -p ''", "the prompt is empty"},
      {":", "generate m -p x --system y", "--chat"},
      {":", "generate m -p x --threads 0", "--threads 0"},
      {":", "chat m --bogus", "--bogus"},
      {":", "doctor x", "x"},
      {":", "tokenizer train in/corpus -o out --vocab-size 10", "a vocabulary of 10"},
      {":", "tokenizer train in/corpus -o out --superword-share 2", "superword share of 2"},
      {":", "generat m", "unknown verb 'generat'"},
      {":", "inspect", "MODEL"},
  });
}

// What stands around a model is said by its own name, with what to give in its place.
TEST_F(BadInput, FoldersAroundAModel) {
  const std::string made =
      "mkdir -p r/checkpoints/step-00000009 r/checkpoints/step-00000010; touch r/metrics.jsonl";
  const std::string done = made + "; cp -r m r/model";
  const auto say = [](const std::string& what) { return "the folder of a run; " + what; };
  std::vector<Case> cases;
  for (const char* command :
       {"chat r", "generate r -p x", "score r --ids in/ids.json", "inspect r", "plan r",
        "convert r out.gguf", "quantize r out.gguf Q8_0", "render r in/messages.json", "eval r",
        "imatrix r in/texts/0.txt --out i.gguf", "tokenizer encode r in/texts/0.txt",
        "rl in/rl.yaml --set init=r", "train in/sft.yaml --set init=r"}) {
    cases.push_back({done, command, say("its model is r/model")});
  }
  expect_refused(cases);
  expect_refused({
      {made, "chat r", say("it is not done; its newest checkpoint is r/checkpoints/step-00000010")},
      {"mkdir r; touch r/metrics.jsonl", "chat r", say("it has no model yet")},
      {made, "chat r/checkpoints", "the newest is r/checkpoints/step-00000010"},
      {"mkdir -p c/step-100000000 c/step-99999999", "chat c", "the newest is c/step-100000000"},
      {":", "chat in/corpus", "in/corpus: a prepared corpus"},
      {":", "chat in/tokenizer", "in/tokenizer: a tokenizer's folder"},
      {":", "chat in/texts", "in/texts: no config.json"},
      {":", "tokenizer encode in/texts/0.txt", "MODEL comes first"},
      {":", "tokenizer decode no/model", "no/model: no such file or folder"},
  });
}

TEST_F(BadInput, OrderAndNames) {
  expect_refused({
      {":", "quantize m Q4_K_M out.gguf", "`dure quantize m out.gguf Q4_K_M`"},
      {":", "render in/messages.json m", "`dure render m in/messages.json`"},
      {":", "convert m out.safetensors", "Dure writes no .safetensors file"},
      {":", "convert m.gguf out.bin", "OUT is a name ending in .gguf"},
      {":", "convert m out.gguf --part-size 5", "with its unit"},
      {":", "generate m --temp 0 -p x", "did you mean '--temperature'?"},
      {":", "generate m Hello", "a text is given as -p 'Hello'"},
      {":", "train in/train.yaml --set tokenizer=nope", "tokenizer: no file or folder nope"},
      {":", "generate m", "as -p TEXT or on standard input"},
      {":", "score m --text 'Hello there'", "Hello there: no such file"},
      {":", "rl in/sft.yaml", "a configuration of `dure train`"},
  });
}

TEST_F(BadInput, Quantising) {
  const char* with_rules = "quantize m out.gguf Q4_K_M --rules r.yaml";
  const char* with_matrix = "quantize m out.gguf Q4_K_M --imatrix i.gguf";
  expect_refused({
      {"rm -r m", "quantize m out.gguf Q8_0", "m: no such file or folder"},
      {"truncate -s 5000 m/model.safetensors", "quantize m out.gguf Q8_0", "truncated"},
      {"truncate -s 3000 m.gguf", "quantize m.gguf out.gguf Q8_0", "m.gguf: truncated at byte"},
      {":", "quantize m out.gguf Q9_9", "unknown type 'Q9_9'"},
      {":", "quantize m out.txt Q8_0", "out.txt"},
      {":", "quantize m m.gguf Q8_0", "m.gguf is there already"},
      {"cp m.gguf i.gguf", with_matrix, "no importance matrix"},
      {": > i.gguf", with_matrix, "i.gguf: not a GGUF file"},
      {"head -c 300 m.gguf > i.gguf", with_matrix, "i.gguf: truncated at byte"},
      {":", with_rules, "r.yaml"},
      {"echo 'rules: [{rle: attention, type: Q8_0}]' > r.yaml", with_rules,
       "rule 1: rle: unknown field"},
      {"echo 'rules: [{role: attention, type: Q8_9}]' > r.yaml", with_rules, "'Q8_9'"},
      {"echo 'rules: [{match: \"a(\", type: Q8_0}]' > r.yaml", with_rules,
       "rule 1: match: pattern a("},
      {"echo 'rules: [{match: \"(a|a)*(b|_)*(.*)*x$\", type: Q8_0}]' > r.yaml", with_rules,
       "match limit"},
      {":", "imatrix m nowhere -o out.gguf", "nowhere"},
      {":", "imatrix m in/texts/1.txt", "--out"},
      {":", "imatrix m in/texts/1.txt -o no/where", "no/where"},
      {":", "imatrix m in/texts/1.txt -o m.gguf", "m.gguf is there already"},
      {":", "imatrix m in/texts/1.txt -o out.gguf --chunk 0", "--chunk 0"},
      {": > empty", "imatrix m empty -o out.gguf", "0 tokens"},
      {"rm m/tokenizer.json", "imatrix m in/texts/1.txt -o out.gguf", "tokenizer"},
  });
}

// What must be true of a command that found no room for what it writes.
TEST_F(BadInput, FullDisk) {
  const std::string apart =
      shell("unshare -m true 2>/dev/null") == 0 ? "unshare -m" : "unshare -rm";
  fresh("mkdir full");
  if (shell(in_folder(apart + " mount -t tmpfs -o size=64k tmpfs case/full 2>/dev/null")) != 0) {
    std::printf("skipped: a tmpfs cannot be mounted here\n");
    return;
  }
  for (const std::string command :
       {"convert m full/out.gguf", "convert m.gguf full/out",
        "score m --ids in/many.json --logits full/out.f32",
        "score m --ids in/ids.json --gradients full/out.safetensors",
        "data prepare in/texts in/texts2 -o full/corpus",
        "tokenizer train in/corpus --vocab-size 320 -o full/a/b",
        "train in/train.yaml --set output=full/run", "rl in/rl.yaml --set output=full/run"}) {
    SCOPED_TRACE(command);
    fresh(
        "mkdir full; seq -s ' ' 1 200 > in/many.json; cp -r in/texts in/texts2; sed -i "
        "'s/village/town/' in/texts2/*");
    // The disk is nearly full already for what is small.
    const std::string fill = command.starts_with("tokenizer") || command.starts_with("data")
                                 ? "dd if=/dev/zero of=full/fill bs=1k count=56 2>/dev/null; "
                                 : "";
    shell(in_folder(
        "cd case && " + apart + " sh -c 'mount -t tmpfs -o size=64k tmpfs full && { " + fill +
        "timeout 120 \"$dure\" " + command +
        " </dev/null >../out 2>../err; echo $? >../code; find full -mindepth 1 >../left; }'"));
    const std::string error = without_warnings(read_file(at("err"))), left = read_file(at("left"));
    EXPECT_EQ(read_file(at("code")), "2\n") << error;
    EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
    EXPECT_NE(error.find("No space left on device"), std::string::npos) << error;
    EXPECT_NE(error.find("full/"), std::string::npos) << error;
    EXPECT_EQ(read_file(at("out")), "");
    EXPECT_EQ(left.find("tmp-"), std::string::npos) << left;
    EXPECT_EQ(left.find("full/out"), std::string::npos) << left;
    EXPECT_EQ(left.find("model"), std::string::npos) << left;
    EXPECT_EQ(left.find("tokenizer"), std::string::npos) << left;
  }
}

TEST_F(BadInput, NoPermission) {
  std::string as;
  if (::geteuid() == 0) {  // Root may do anything: become nobody.
    as = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    // The build may lie where nobody cannot go, such as root's home: a copy beside the cases.
    std::filesystem::copy_file(DURE_BINARY, at("dure"));
    ::setenv("dure", at("dure").c_str(), 1);
    if (shell(as + " sh -c '\"$dure\" --version' >/dev/null 2>&1") != 0) {
      ::setenv("dure", DURE_BINARY, 1);
      std::printf("skipped: the program cannot be run as another user here\n");
      return;
    }
  }
  for (const Case& c : std::vector<Case>{
           {"chmod 0 m/model.safetensors", "score m --ids in/ids.json",
            "m/model.safetensors: Permission denied"},
           {"chmod 0 m/config.json", "generate m -p x", "m/config.json: Permission denied"},
           {"chmod 0 m.gguf", "inspect m.gguf", "Permission denied"},
           {"chmod 0 m/tokenizer.json", "tokenizer encode m in/texts/1.txt", "Permission denied"},
           {"chmod 0 in/ids.json", "score m --ids in/ids.json", "in/ids.json: Permission denied"},
           {"chmod 0 in/train.yaml", "train in/train.yaml", "in/train.yaml: Permission denied"},
           {"chmod 0 in/messages.json", "render m in/messages.json", "Permission denied"},
           {"chmod 555 .", "train in/train.yaml", "Permission denied"},
           {"chmod 555 .", "rl in/rl.yaml", "Permission denied"},
           {"chmod 555 .", "convert m out.gguf", "Permission denied"},
           {"chmod 555 .", "convert m.gguf out", "Permission denied"},
           {"chmod 555 .", "data prepare in/texts -o out", "Permission denied"},
           {"chmod 555 .", "tokenizer train in/corpus --vocab-size 320 -o out",
            "Permission denied"},
           {"chmod 555 .", "score m --ids in/ids.json --logits out.f32", "Permission denied"},
           {"chmod 555 .", "eval m --out out", "Permission denied"}})
    expect_refused(c, as);
  ::setenv("dure", DURE_BINARY, 1);
}

}  // namespace
}  // namespace dure
