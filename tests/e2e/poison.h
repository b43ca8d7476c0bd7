#ifndef RUM_TESTS_E2E_POISON_H_
#define RUM_TESTS_E2E_POISON_H_

#include "tests/e2e/world.h"

namespace rum::e2e {

// Poisons files of a running guest at random, one or two in each round, while everything that rum
// keeps there is moved: expects that all that does not stand on a poisoned file is put right within
// 2 s of what it takes in rounds without poison, that what does says why it cannot be, and that it
// is put right after the cure. The guest's agent stands still while all is moved, so that a round
// begins at one moment.
void ExpectPoisonSpoilsNothingElse(World* world, int rounds, unsigned seed);

}  // namespace rum::e2e

#endif  // RUM_TESTS_E2E_POISON_H_
