"""Mail: its texts in each language, and its way through SMTP or Resend."""
