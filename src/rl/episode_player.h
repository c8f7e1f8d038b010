// rl/episode_player.h: conversations of a model with environments, many side by side.
//
// Owns the order of work: the engine samples the answers that are wanted now, together, on the
// caller's thread; environments work on others meanwhile, on threads of their own; an episode goes
// on with all its ids, so that the engine finds its prefix. What is said depends on the weights,
// the episode's seed and its stream alone, never on who was first. Not here: what an environment
// says (grade/episode.h), ids between answers (chat/token_conversation.h), rewards (rollout.h).
#pragma once

#include <cstdint>
#include <vector>

#include "engine/generator.h"
#include "grade/episode.h"
#include "rl/rollout.h"

namespace dure {

struct EpisodeToPlay {
  size_t place = 0;  // of its rollout
  EpisodeSeed seed;
  uint64_t stream = 0;  // of its random numbers; each answer has one of its own
};

// Plays each, and fills prompt, generation, content, reasoning, grade and episode of its rollout,
// whose item has an environment. Throws what the engine and the chat template throw.
void play_episodes(const PromptSource& source, const std::vector<EpisodeToPlay>& episodes,
                   std::vector<Rollout>& rollouts, Generator& generator);

}  // namespace dure
