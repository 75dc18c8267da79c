/** Who may see a scene or a photograph: the cold start, the rejection sampling, or the held-out evaluation; one of them only. */
export type Split = "cold-start" | "rejection" | "heldout";
