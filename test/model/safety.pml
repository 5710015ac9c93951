/*
 * What the server gives to a node that lies: session, nonces, batching, reuse, taints, fence.
 * One process in which everything that may happen does, in any order: the kernel measures, the TPM quotes whatever it
 * is asked, the node sends whatever it has, time passes, the administrator approves, server and node start again.
 * Names as in src/server. README.md says what is left out. Each #ifdef takes one defence out; model.test.ts shows that it is missed.
 */
#ifndef RANGES
#define RANGES 1      /* uid ranges, so containers: bits 0 and 1 of the sets below */
#endif
#ifndef LIST
#define LIST 1        /* entries of the measurement list, each a bad file of one range */
#endif
#ifndef NONCES
#define NONCES 2
#endif
#ifndef QUOTES
#define QUOTES 1      /* that the node keeps */
#endif
#ifndef SESSIONS
#define SESSIONS 2
#endif
#ifndef TICKS
#define TICKS 2
#endif
#define NONCE_LIFE 1  /* ticks that a nonce may be taken after it was made */
#define MAX_AGE 1     /* ticks that evidence may be used, counted from its nonce */
#define NONE 7

#define chooseRange() if :: c = 0 :: RANGES > 1 -> c = 1 fi
#define chooseQuote() if :: q = 0 :: QUOTES > 1 -> q = 1 fi
#define has(set, c) (((set) >> (c)) & 1)

typedef Quote { bit made; byte nonce; byte length; byte confirms };
/* What a session of the server holds in memory. */
typedef Session {
  bit open;
  byte length;        /* entries received */
  byte forged;        /* index of the first entry that is not the kernel's; NONE: all are */
  byte taints;        /* as this session has read and judged them */
  bit evidence; byte nonce; byte quoted;
  byte unconfirmed;   /* ranges answered on reused evidence */
};

byte list[LIST]; byte klen;           /* the kernel's list: range of each bad entry */
byte badAt[RANGES];                   /* ghost: tick of the first bad entry of a range */
byte now; byte madeAt[NONCES]; byte owner[NONCES]; bit used[NONCES]; byte nonces;
Quote quotes[QUOTES];
Session s[SESSIONS]; byte newest; byte sessions;
byte approved;                        /* ranges whose bad file the administrator approved afterwards */
byte stored;                          /* taints in the database */
byte seen;                            /* ghost: ranges of which any session saw a bad entry before it was approved */
byte issuedAt[RANGES];                /* ghost: number of nonces made when an unconfirmed SVID was issued */
byte held;                            /* ranges that hold an SVID */

/* Entries of session n that are not approved become taints; of a forged entry nothing bad is seen. */
inline judge(n, upTo) {
  i = 0;
  do
  :: i < upTo && i < s[n].forged ->
     if
     :: !has(approved, list[i]) ->
        seen = seen | (1 << list[i]);
        s[n].taints = s[n].taints | (1 << list[i]);
        held = held & ~(1 << list[i]);
        s[n].unconfirmed = s[n].unconfirmed & ~(1 << list[i])
     :: else
     fi;
     i++
  :: else -> break
  od;
#ifndef TAINTS_IN_MEMORY
  stored = stored | s[n].taints;
#endif
  i = 0
}

/* The SVID of range c leaves. This is what must hold whenever it does. */
inline issue(n, c) {
#ifndef NO_FENCE
  if
  :: n != newest -> skip   /* the store takes no commit under an older fence */
  :: else ->
#endif
     assert(s[n].evidence);
     assert(owner[s[n].nonce] == n);                     /* evidence of this very connection */
     assert(now - madeAt[s[n].nonce] <= MAX_AGE);        /* fresh, from the nonce on */
     assert(!has(seen, c));                              /* never again after something bad was seen */
     /* A range that was bad for longer than evidence lives gets nothing, however the node lies. */
     assert(badAt[c] == NONE || has(approved, c) || now - badAt[c] <= MAX_AGE);
     held = held | (1 << c);
#ifndef NO_FENCE
  fi
#endif
}

/* What can't matter any more is set to nothing, so that states that differ in it alone are one. */
inline tidy() {
  i = 0;
  do
  :: i < SESSIONS ->
     if
     :: !s[i].open -> s[i].evidence = 0; s[i].taints = 0; s[i].length = 0; s[i].forged = 0; s[i].unconfirmed = 0
     :: else
     fi;
     if :: !s[i].evidence -> s[i].nonce = 0; s[i].quoted = 0 :: else fi;
     i++
  :: else -> break
  od;
  i = 0;
#ifndef NONCE_FOR_EVER
  do
  :: i < QUOTES ->
     if
     :: quotes[i].made && (used[quotes[i].nonce] || now - madeAt[quotes[i].nonce] > NONCE_LIFE) ->
        quotes[i].made = 0; quotes[i].nonce = 0; quotes[i].length = 0; quotes[i].confirms = 0
     :: else
     fi;
     i++
  :: else -> break
  od;
  i = 0
#endif
}

inline openSession() {
  s[newest].open = (sessions > 0 -> s[newest].open : 0);
  newest = sessions; sessions++;
  s[newest].open = 1; s[newest].length = 0; s[newest].forged = NONE;
  s[newest].taints = stored;
#ifdef EVIDENCE_INHERITED
  if
  :: newest > 0 -> s[newest].evidence = s[newest - 1].evidence; s[newest].nonce = s[newest - 1].nonce
  :: else
  fi
#endif
}

inline takeEvidence(n, q) {
  if
#ifndef NONCE_OF_ANY_SESSION
  :: owner[quotes[q].nonce] != n -> s[n].open = 0        /* not for this connection: ends the session */
#endif
  :: else ->
     if
#ifndef NONCE_FOR_EVER
     :: used[quotes[q].nonce] || now - madeAt[quotes[q].nonce] > NONCE_LIFE -> skip   /* of no more use */
#endif
     :: else ->
        used[quotes[q].nonce] = 1;
        if
#ifndef PREFIX_UNCHECKED
        :: quotes[q].length > s[n].length || quotes[q].length > s[n].forged ->
           s[n].evidence = 0                             /* no prefix explains it: no evidence, and the older ends */
#endif
        :: else ->
           s[n].evidence = 1; s[n].nonce = quotes[q].nonce; s[n].quoted = quotes[q].length;
#ifdef AGE_FROM_ARRIVAL
           madeAt[quotes[q].nonce] = now;
#endif
           s[n].unconfirmed = s[n].unconfirmed & ~quotes[q].confirms;
           c = 0;
           do
           :: c < RANGES ->
              if
              :: !has(s[n].taints, c) -> issue(n, c)
              :: else
              fi;
#ifndef UNCONFIRMED_KEPT
              if                                          /* answered before this nonce was made, and not confirmed */
              :: has(s[n].unconfirmed, c) && issuedAt[c] <= quotes[q].nonce ->
                 held = held & ~(1 << c); s[n].unconfirmed = s[n].unconfirmed & ~(1 << c)
              :: else
              fi;
#endif
              assert(!(has(held, c) && has(s[n].unconfirmed, c) && issuedAt[c] <= quotes[q].nonce));
              c++
           :: else -> break
           od;
           c = 0
        fi
     fi
  fi
}

#ifdef REUSED_AT_ANY_AGE
#define young(n) true
#else
#define young(n) (now - madeAt[s[n].nonce] <= MAX_AGE)
#endif

inline answerReused(n, c) {
  if
  :: s[n].evidence && !has(s[n].taints, c) && young(n) ->
     issue(n, c);
     if
     :: n == newest -> s[n].unconfirmed = s[n].unconfirmed | (1 << c); issuedAt[c] = nonces
     :: else
     fi
  :: else                                                /* quote_needed */
  fi
}

active proctype world() {
  byte i = 0; byte c = 0; byte n = 0; byte q = 0;
  d_step {
    do :: i < RANGES -> badAt[i] = NONE; i++ :: else -> break od;
    i = 0;
    openSession()
  }
  do
  /* The kernel measures something bad of a range. */
  :: klen < LIST -> atomic {
       chooseRange();
       d_step { list[klen] = c; klen++; badAt[c] = (badAt[c] == NONE -> now : badAt[c]); c = 0 } }
  :: now < TICKS -> d_step { now++; tidy() }
  /* The administrator approves what a range executed. */
  :: approved == 0 && klen > 0 -> d_step { approved = 1 << list[0] }
  /* The server makes a nonce for its newest session. */
  :: nonces < NONCES -> d_step { madeAt[nonces] = now; owner[nonces] = newest; nonces++ }
  /* The TPM quotes for any nonce and confirmations; every range is asked for. The node keeps what it likes. */
  :: nonces > 0 -> atomic {
       chooseQuote();
       if :: n = nonces - 1 :: nonces > 1 -> n = nonces - 2 fi;
       d_step { quotes[q].made = 1; quotes[q].nonce = n; quotes[q].length = klen };
       if :: quotes[q].confirms = 0 :: quotes[q].confirms = 1 :: RANGES > 1 -> quotes[q].confirms = 2 fi;
       d_step { q = 0; n = 0 } }
  /* The node sends more of the list, true or forged. */
  :: s[newest].open && s[newest].length < klen -> atomic {
       if
       :: s[newest].forged == NONE -> s[newest].forged = s[newest].length
       :: skip
       fi;
       d_step { s[newest].length++;
#ifdef ONLY_QUOTED_ENTRIES
         judge(newest, s[newest].quoted)
#else
         judge(newest, s[newest].length)
#endif
       } }
  /* The node sends evidence in any session that it has. */
  :: atomic { if :: n = newest :: n = 0 fi; chooseQuote();
       if
       :: s[n].open && quotes[q].made -> d_step { takeEvidence(n, q);
#ifdef ONLY_QUOTED_ENTRIES
            judge(n, s[n].quoted)
#endif
          }
       :: else
       fi;
       d_step { n = 0; q = 0; tidy() } }
  /* The node asks for an answer on the evidence that is there. */
  :: atomic { if :: n = newest :: n = 0 fi; chooseRange();
       if :: s[n].open -> d_step { answerReused(n, c) } :: else fi;
       d_step { n = 0; c = 0; tidy() } }
  /* The node, or the server, begins anew: the old session lingers, as it may on another server. */
  :: sessions < SESSIONS -> d_step { openSession() }
  od
}
