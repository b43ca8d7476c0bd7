#ifndef RUM_AGENT_API_STANDARD_STREAMS_H_
#define RUM_AGENT_API_STANDARD_STREAMS_H_

namespace rum {

// Takes the numbers of standard streams that are closed (`>&-`), so that no socket and no file that
// is opened later gets one and is written to. What holds such a number is of the wrong direction:
// reading and writing fail there as with a closed one, so that output that nobody got is not taken
// for output. A program that calls this has it done before all constructors, which open descriptors
// as well; the call itself finds nothing left to do.
void HoldStandardStreams();

}  // namespace rum

#endif  // RUM_AGENT_API_STANDARD_STREAMS_H_
