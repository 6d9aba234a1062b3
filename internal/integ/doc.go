// Package integ has only tests: of Rollcall as its users see it. They build the
// program, run its nodes as processes of their own beside a redis-server, and
// talk to them over sockets; no package of the server is called.
//
// A test's words are verbs of a story, as in package clustertest: a cluster is
// started, a node is killed with kill -9, frozen or drained, a phone dials,
// hangs up, reports. What clients heard is the truth that everything else is
// held against. Nothing waits for a time where it can wait for a state.
//
// What deployed clients rely on is numbered C1 to C23 in the protocol's facts,
// and is told in these tests:
//
//	C1        TestEndPoint
//	C3        TestFirstFrameIsCreateToken, TestEndPoint
//	C5        TestNewConnectionSupersedes
//	C6        TestPingIsNotAnswered
//	C7        TestSilenceIsALoss, TestLostNetworkIsALoss, TestDepartureLatency
//	C8        TestBadSignHasNoEffect, TestForgedFramesHaveNoEffect
//	C9, C10   TestDroppedIsOutAndOneIsTold
//	C11, C12  TestRelaysAreAskedInOrderUntilOneReports, TestRelayThatDropsIsFollowedAtOnce, TestBusyRelayIsPassedOver,
//	          TestUnreportedDepartureIsGivenUpAfterAMinute
//	C13       TestLastOneLeavesNothing
//	C14       TestReturnTellsWhereOneIs
//	C15       TestOrderlyExitTellsNobody, TestOrderlyEndOfCallTellsNobody
//	C16       TestDropHangsUp
//	C17       TestHangUpIsRepeatedUntilReported
//	C18       TestPublicationsReachTheRoom, TestPointToPoint, TestRelayModeTellsOne
//	C20, C21  TestReceiptsAndUnknownActionsAreSilent
//	C22       TestDeadTokenReachesNobody
//	C23       TestNodeCrash, TestScenario1RestartsAtOnce, TestEveryNodeIsReplaced
//	vectors   TestSignatureVectors, TestSignedPingsKeepAlive
//
// The design's ten scenarios are named TestScenario1 and so on, as in package
// clustertest, where they are told in virtual time.
//
// Most stories share one of a few clusters, with rooms and users of their own;
// those that harm nodes start their own. All clusters live on one Redis, under
// their own names. The flags -integ.runs, -integ.crash, -integ.scale, -integ.roll,
// -integ.cut and those of TestChatRoom make the figures larger than a plain run has the
// time for.
package integ
